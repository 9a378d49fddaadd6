"""Gives Flax Linen recurrent cells and `RNN`, with its own arguments and carries."""

from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import Bidirectional
from jaxtyping import Array

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN, step
from jaxrnn.engines import Engine
from jaxrnn.flax import _common

__all__ = ["RNN", "Bidirectional", "GRUCell", "LSTMCell", "OptimizedLSTMCell", "SimpleCell"]


class RecurrentCell(nn.RNNCellBase):
    """A cell with its weights; a cell of your own is a subclass that sets `kind`.

    Parameters are `wx` [D, G*H], `wh` [H, G*H], `bx` [G*H] and, for a GRU, `bh` [G*H].

    Attributes:
        features: H.
        kernel_init: a Flax initialiser for each gate's block of `wx`; as `jaxrnn.init` when not
            given.
        recurrent_kernel_init: the same for `wh`.
        bias_init: the same for the biases.
        dtype: of the products; that of the weights when not given. Gates and carries are at least
            float32.
        param_dtype: of the weights.
        carry_init: a Flax initialiser for the carry; zeros when not given.
    """

    features: int
    kernel_init: Any = None
    recurrent_kernel_init: Any = None
    bias_init: Any = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    carry_init: Any = None

    kind: ClassVar[Cell]

    @nn.compact
    def weights(self, in_features: int) -> Params:
        """The weights for inputs of D features, in the dtype of the computation."""
        inits = {
            "wx": self.kernel_init,
            "wh": self.recurrent_kernel_init,
            "bx": self.bias_init,
        } | ({"bh": self.bias_init} if self.kind.recurrent_bias else {})
        arrays = {}
        for name, custom in inits.items():
            draw = _common.initializer(self.kind, name, custom, in_features, self.features)
            arrays[name] = self.param(name, draw, self.param_dtype)
        return _common.cast(Params(**arrays), self.dtype)

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        state = _common.to_state(self.kind, carry)
        state, outputs = step(self.kind, self.weights(inputs.shape[-1]), state, inputs)
        return _common.to_carry(state), outputs

    @nn.nowrap
    def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
        """A carry for inputs of this shape [..., D]; `rng` matters only with `carry_init`."""
        batch = tuple(input_shape[:-1])
        dtype = self.param_dtype if self.dtype is None else self.dtype
        if self.carry_init is None:
            return _common.zero_carry(self.kind, batch, self.features, dtype)
        return _common.drawn_carry(self.kind, self.carry_init, rng, batch, self.features, dtype)

    @property
    def num_feature_axes(self) -> int:
        """One: features stand in the last axis."""
        return 1


class SimpleCell(RecurrentCell):
    """h' = tanh(x @ wx + h @ wh + bx); the carry is h [..., H]."""

    kind = SimpleRNN


class LSTMCell(RecurrentCell):
    """The LSTM with gates i, f, g, o; the carry is (c, h) in Flax's order, each [..., H]."""

    kind = LSTM


OptimizedLSTMCell = LSTMCell


class GRUCell(RecurrentCell):
    """The GRU with gates r, z, n and both biases; the carry is h [..., H]."""

    kind = GRU


class RNN(nn.Module):
    """Runs a cell of this module over time, exactly on ragged batches and under every transform.

    Attributes are those of `flax.linen.RNN`; `variable_axes` and the like do not exist, as nothing
    is lifted. `unroll` steps are compiled into one turn of the loop by an engine that has this
    option. `engine` is that of `jaxrnn.unroll`.
    """

    cell: nn.Module
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    unroll: int = 1
    engine: Engine | Callable[..., Any] | None = None

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        init_key: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Outputs [..., T, H], or `(carry, outputs)` with `return_carry`.

        Args:
            inputs: [..., T, D], or [T, ..., D] with `time_major`.
            initial_carry: h [..., H], or (c, h) for an LSTM; zeros, or from the cell's
                `carry_init`, when not given.
            init_key: the key for `carry_init`; `jax.random.key(0)` when not given.
            seq_lengths: valid steps of each sequence, integers [...]. The carry is that after the
                last of them, and outputs past it are zero.
            return_carry: these four are the attributes where not given.
            time_major: whether time is the first axis.
            reverse: run from the last valid step to the first.
            keep_order: with `reverse`, give the outputs in the order of the inputs.
        """
        if not isinstance(self.cell, RecurrentCell):
            raise TypeError(
                f"cell is a {type(self.cell).__module__}.{type(self.cell).__name__}; this RNN runs "
                "the cells of jaxrnn.flax.linen: change that import too"
            )
        time_major = self.time_major if time_major is None else time_major
        if initial_carry is None and self.cell.carry_init is not None:
            key = jax.random.key(0) if init_key is None else init_key
            shape = inputs.shape[1:] if time_major else (*inputs.shape[:-2], inputs.shape[-1])
            initial_carry = self.cell.initialize_carry(key, shape)
        return _common.run(
            self.cell.kind,
            self.cell.weights(inputs.shape[-1]),
            inputs,
            initial_carry,
            seq_lengths,
            time_major=time_major,
            return_carry=self.return_carry if return_carry is None else return_carry,
            reverse=self.reverse if reverse is None else reverse,
            keep_order=self.keep_order if keep_order is None else keep_order,
            unroll=self.unroll,
            engine=self.engine,
        )
