"""Gives NNX's `RNN`, `Bidirectional` and `ScannedRNN`: an engine where it can, else a scan."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from jaxrnn.engines import Engine
from jaxrnn.flax import _common, _directions
from jaxrnn.flax.nnx._kinds import begins_at_zero, kind_of, weights

# State axes belong to the graph mode of NNX, which is `nnx.compat` since Flax has another.
_scan = getattr(nnx, "compat", nnx).scan


class RNN(nnx.RNN):
    """Runs a cell over time, exactly on ragged batches, with resets and under every transform.

    Flax's `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`, ours and a `RecurrentCell`
    run on the library's engines, as long as their step is not overridden and their gates are
    sigmoid and tanh. Any other cell is scanned.
    """

    def __init__(
        self,
        cell: Any,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        unroll: int = 1,
        state_axes: Mapping[Any, Any] | None = None,
        broadcast_rngs: Any = None,
        rngs: Any = True,
        engine: Engine | Callable[..., Any] | None = None,
    ):
        """Take Flax's arguments, and one more.

        `unroll` steps are compiled into one turn of the loop by an engine that has this option, and
        in a scan. `state_axes` and `broadcast_rngs` are for cells with state of their own, which
        are scanned.

        Args:
            cell: any cell of NNX.
            time_major: whether time is the first axis.
            return_carry: whether to give `(carry, outputs)`.
            reverse: run from the last valid step to the first.
            keep_order: with `reverse`, give the outputs in the order of the inputs.
            unroll: steps in one turn of the loop.
            state_axes: how the cell's state meets the scan, Flax's.
            broadcast_rngs: which random streams are the same at every step, Flax's.
            rngs: where a cell that draws its first carry takes its keys from.
            engine: that of `jaxrnn.unroll`.
        """
        super().__init__(
            cell, time_major=time_major, return_carry=return_carry, reverse=reverse,
            keep_order=keep_order, unroll=unroll, state_axes=state_axes,
            broadcast_rngs=broadcast_rngs, rngs=rngs,
        )  # fmt: skip
        self.lifted = state_axes is not None or broadcast_rngs is not None
        self.engine = engine

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        resets: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """Outputs [..., T, H], or `(carry, outputs)` with `return_carry`.

        Args:
            inputs: [..., T, D], or [T, ..., D] with `time_major`.
            initial_carry: h [..., H], or (c, h) for an LSTM; the cell's own when not given.
            seq_lengths: valid steps of each sequence, integers [...]. The carry is that after the
                last of them, and outputs past it are zero.
            resets: [..., T]; where not zero, the carry returns to the cell's own before that step.
            return_carry: these four are the constructor's where not given.
            time_major: whether time is the first axis.
            reverse: run from the last valid step to the first.
            keep_order: with `reverse`, give the outputs in the order of the inputs.
            rngs: where a cell that draws its first carry takes its keys from.
        """
        how = _common.options(self, time_major, return_carry, reverse, keep_order)
        keys = self.rngs if rngs is None else rngs
        if isinstance(keys, nnx.Rngs):
            keys = keys.carry.fork()
        cell = self.cell
        front = _common.Front(
            cell,
            kind=None if self.lifted else kind_of(cell),
            weights=lambda carry, shape: weights(cell),
            begins_at_zero=begins_at_zero(cell),
            initialize_carry=lambda shape: cell.initialize_carry(shape, keys),
            scan=self._scan,
        )
        return _common.run(
            front, inputs, how, initial_carry, seq_lengths, resets, self.unroll, self.engine
        )

    def _scan(self, body: Callable[..., Any], carry: Any, now: Any) -> tuple[Any, Any]:
        shared: dict[Any, Any] = {nnx.All(nnx.RngState, self.broadcast_rngs): None}
        lifted = _scan(
            body,
            in_axes=(nnx.StateAxes(shared | dict(self.state_axes)), nnx.Carry, 0),
            out_axes=(nnx.Carry, 0),
            unroll=self.unroll,
        )
        # One split, so that each call of the RNN draws anew what is the same at all its steps.
        split = nnx.split_rngs(splits=1, only=self.broadcast_rngs, squeeze=True)
        return split(lifted)(self.cell, carry, now)


class Bidirectional(nnx.Bidirectional):
    """Flax's, with resets: two `RNN`s, one of them from the last step to the first."""

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        rngs: Any = None,
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
            rngs: where cells that draw their first carry take their keys from.
            seq_lengths: valid steps of each sequence, integers [...].
            resets: [..., T]; a sequence begins at that step. The backward direction is reset at the
                last step of the one before.
            return_carry: these two are the constructor's where not given.
            time_major: whether time is the first axis.
            reverse: refused, as both directions are run anyway; so is `keep_order`.
            keep_order: refused.
        """
        _directions.refuse_directions(reverse, keep_order)
        time_major = self.time_major if time_major is None else time_major
        return_carry = self.return_carry if return_carry is None else return_carry
        rngs = self.rngs if rngs is None else rngs
        keys = (rngs.carry if isinstance(rngs, nnx.Rngs) else rngs,) * 2
        carries = (None, None) if initial_carry is None else initial_carry
        first, second = [
            {"initial_carry": carry, "rngs": key} for carry, key in zip(carries, keys, strict=True)
        ]
        ends, outputs = _directions.both_ways(
            self.forward_rnn, self.backward_rnn, inputs,
            seq_lengths=seq_lengths, resets=resets, time_major=time_major, each=(first, second),
        )  # fmt: skip
        merged = jax.tree.map(self.merge_fn, *outputs)
        return (ends, merged) if return_carry else merged


class ScannedRNN(nnx.Module):
    """A cell over the steps of a rollout, as programs of reinforcement learning have it.

    `carry, outputs = module(carry, (inputs, resets))`, time first: inputs [T, B, D], resets [T, B].
    Where `resets` is not zero the carry returns to the cell's own before that step.
    """

    def __init__(self, cell: Any, **options: Any):
        """Take a cell, and further options of `RNN`."""
        self.rnn = RNN(cell, time_major=True, return_carry=True, **options)

    def __call__(self, carry: Any, inputs: tuple[Array, Any]) -> tuple[Any, Array]:
        """The carry after the last step, and the outputs [T, B, H]."""
        xs, resets = inputs
        return self.rnn(xs, initial_carry=carry, resets=resets)

    def initialize_carry(self, batch_size: int) -> Any:
        """The carry before the first step of `batch_size` rollouts."""
        cell: Any = self.rnn.cell
        return cell.initialize_carry((batch_size, cell.in_features), self.rnn.rngs)
