"""Defines the cells of Linen: Flax's own, which also take our states, and `RecurrentCell`.

Our `LSTMCell` is Flax's, with its attributes, parameters and step; the engines read its weights.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN
from jaxrnn.flax import _common


class _Ours:
    """What our cells add to Flax's."""

    kind: ClassVar[Cell]

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        carry = _common.to_carry(_common.to_state(self.kind, carry))
        return super().__call__(carry, inputs)  # type: ignore[misc]


class SimpleCell(_Ours, nn.SimpleCell):
    """Flax's: h' = tanh(i(x) + h(h)); the carry is h [..., H]."""

    recurrent_kernel_init: Any = _common.orthogonal

    kind = SimpleRNN


class LSTMCell(_Ours, nn.LSTMCell):
    """Flax's LSTM: layers `ii`, `if`, `ig`, `io` and `hi`, ... `ho`; the carry is (c, h)."""

    recurrent_kernel_init: Any = _common.orthogonal

    kind = LSTM


class OptimizedLSTMCell(_Ours, nn.OptimizedLSTMCell):
    """Flax's LSTM with one product for all gates; its parameters are those of `LSTMCell`."""

    recurrent_kernel_init: Any = _common.orthogonal

    kind = LSTM


class GRUCell(_Ours, nn.GRUCell):
    """Flax's GRU: layers `ir`, `iz`, `in` and `hr`, `hz`, `hn`; the carry is h [..., H]."""

    recurrent_kernel_init: Any = _common.orthogonal

    kind = GRU


class RecurrentCell(nn.RNNCellBase):
    """A cell of the library's form; one of your own is a subclass that sets `kind`.

    Parameters are `wx` [D, G*H], `wh` [H, G*H], `bx` [G*H] and, where the cell has it, `bh`.

    Attributes:
        features: H.
        kernel_init: a Flax initialiser for each gate's block of `wx`; as `jaxrnn.init` when not
            given.
        recurrent_kernel_init: the same for `wh`.
        bias_init: the same for the biases.
        dtype: of the products; that of what meets in them when not given.
        param_dtype: of the weights and of a fresh carry.
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
        params = self.weights(inputs.shape[-1])
        return _common.one_step(self.kind, params, carry, inputs, self.dtype)

    @nn.nowrap
    def initialize_carry(self, rng: Any, input_shape: tuple[int, ...]) -> Any:
        """A carry for inputs of this shape [..., D]; `rng` matters only with `carry_init`."""
        keys = iter(jax.random.split(rng, len(self.kind.state._fields)))
        shape = (*input_shape[:-1], self.features)
        draw = self.carry_init or nn.initializers.zeros
        return _common.drawn_carry(self.kind, draw, lambda: next(keys), shape, self.param_dtype)

    @property
    def num_feature_axes(self) -> int:
        """One: features stand in the last axis."""
        return 1
