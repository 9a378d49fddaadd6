"""Gives Linen's `RNN`, `Bidirectional` and `ScannedRNN`: an engine where it can, else a scan."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.core import FrozenDict
from jaxtyping import Array

from jaxrnn.engines import Engine
from jaxrnn.flax import _common, _directions
from jaxrnn.flax.linen._cells import GRUCell
from jaxrnn.flax.linen._kinds import begins_at_zero, kind_of, weights


class RNN(nn.RNN):
    """Runs a cell over time, exactly on ragged batches, with resets and under every transform.

    Flax's `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`, ours and a `RecurrentCell`
    run on the library's engines, as long as their step is not overridden and their gates are
    sigmoid and tanh. Any other cell is scanned.

    Attributes are those of `flax.linen.RNN`, and one more. `unroll` steps are compiled into one
    turn of the loop by an engine that has this option, and in a scan. `variable_axes`,
    `variable_broadcast`, `variable_carry` and `split_rngs` are for cells with state of their own,
    which are scanned.

    Attributes:
        engine: that of `jaxrnn.unroll`.
    """

    engine: Engine | Callable[..., Any] | None = None

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: Any = None,
        resets: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Outputs [..., T, H], or `(carry, outputs)` with `return_carry`.

        Args:
            inputs: [..., T, D], or [T, ..., D] with `time_major`.
            initial_carry: h [..., H], or (c, h) for an LSTM; the cell's own when not given.
            init_key: the key for a carry that is drawn; `jax.random.key(0)` when not given.
            seq_lengths: valid steps of each sequence, integers [...]. The carry is that after the
                last of them, and outputs past it are zero.
            resets: [..., T]; where not zero, the carry returns to the cell's own before that step.
            return_carry: these four are the attributes where not given.
            time_major: whether time is the first axis.
            reverse: run from the last valid step to the first.
            keep_order: with `reverse`, give the outputs in the order of the inputs.
        """
        how = _common.options(self, time_major, return_carry, reverse, keep_order)
        cell = self.cell
        front = _common.Front(
            cell,
            kind=None if self._is_lifted() else kind_of(cell),
            weights=lambda carry, shape: weights(cell, carry, shape),
            begins_at_zero=begins_at_zero(cell),
            initialize_carry=lambda shape: cell.initialize_carry(
                jax.random.key(0) if init_key is None else init_key, shape
            ),
            scan=self._scan,
        )
        return _common.run(
            front, inputs, how, initial_carry, seq_lengths, resets, self.unroll, self.engine
        )

    @nn.nowrap
    def _is_lifted(self) -> bool:
        """Whether the cell's variables meet the scan in another way than by default."""
        default: Any = (FrozenDict(), "params", False, FrozenDict({"params": False}))
        return default != (
            FrozenDict(self.variable_axes),
            self.variable_broadcast,
            self.variable_carry,
            FrozenDict(self.split_rngs),
        )

    @nn.nowrap
    def _scan(self, body: Callable[..., Any], carry: Any, now: Any) -> tuple[Any, Any]:
        lifted = nn.scan(
            body,
            unroll=self.unroll,
            variable_axes=self.variable_axes,
            variable_broadcast=self.variable_broadcast,
            variable_carry=self.variable_carry,
            split_rngs=self.split_rngs,
        )
        return lifted(self.cell, carry, now)


class Bidirectional(nn.Bidirectional):
    """Flax's, with resets: two `RNN`s, one of them from the last step to the first."""

    forward_rnn: Any
    backward_rnn: Any

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: Any = None,
        resets: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Merged outputs, or `((forward carry, backward carry), outputs)` with `return_carry`.

        Args:
            inputs: [..., T, D], or [T, ..., D] with `time_major`.
            initial_carry: `(forward carry, backward carry)`.
            init_key: for carries that are drawn; each direction has one of its own.
            seq_lengths: valid steps of each sequence, integers [...].
            resets: [..., T]; a sequence begins at that step. The backward direction is reset at the
                last step of the one before.
            return_carry: these two are the attributes where not given.
            time_major: whether time is the first axis.
            reverse: refused, as both directions are run anyway; so is `keep_order`.
            keep_order: refused.
        """
        _directions.refuse_directions(reverse, keep_order)
        time_major = self.time_major if time_major is None else time_major
        return_carry = self.return_carry if return_carry is None else return_carry
        keys = (None, None) if init_key is None else jax.random.split(init_key)
        carries = (None, None) if initial_carry is None else initial_carry
        first, second = [
            {"initial_carry": carry, "init_key": key}
            for carry, key in zip(carries, keys, strict=True)
        ]
        ends, outputs = _directions.both_ways(
            self.forward_rnn, self.backward_rnn, inputs,
            seq_lengths=seq_lengths, resets=resets, time_major=time_major, each=(first, second),
        )  # fmt: skip
        merged = jax.tree.map(self.merge_fn, *outputs)
        return (ends, merged) if return_carry else merged


class ScannedRNN(nn.Module):
    """A cell over the steps of a rollout, as programs of reinforcement learning have it.

    `carry, outputs = module(carry, (inputs, resets))`, time first: inputs [T, B, D], resets [T, B].
    Where `resets` is not zero the carry returns to the cell's own before that step. The carry's
    width is that of the cell.

    Attributes:
        cell: `features -> cell`, a class of cells for example; `GRUCell` when not given.
        engine: that of `jaxrnn.unroll`.
    """

    cell: Callable[..., Any] = GRUCell
    engine: Engine | Callable[..., Any] | None = None

    @nn.compact
    def __call__(self, carry: Any, inputs: tuple[Array, Any]) -> tuple[Any, Array]:
        """The carry after the last step, and the outputs [T, B, H]."""
        xs, resets = inputs
        cell = self.cell(features=jax.tree.leaves(carry)[0].shape[-1])
        rnn = RNN(cell, time_major=True, return_carry=True, engine=self.engine)
        return rnn(xs, initial_carry=carry, resets=resets)

    @staticmethod
    def initialize_carry(
        batch_size: int, hidden_size: int, cell: Callable[..., Any] = GRUCell
    ) -> Any:
        """The carry before the first step of `batch_size` rollouts."""
        shape = (batch_size, hidden_size)
        return cell(features=hidden_size).initialize_carry(jax.random.key(0), shape)
