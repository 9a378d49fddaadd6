"""Defines the cells of NNX: Flax's own, whose weights the library's engines can read, and others.

Our `LSTMCell` is Flax's, with its arguments, parameters and step. What is added: its weights can
be read and set as `jaxrnn.Params`, it takes our states for carries, and zeros need no `rngs`.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN
from jaxrnn.convert.flax import nnx_tree
from jaxrnn.flax import _common
from jaxrnn.flax.nnx._weights import assign, check_alike, fused


class Ours:
    """What our cells add to Flax's."""

    kind: ClassVar[Cell]
    side_by_side: ClassVar[int] = 1  # gates in one matrix

    def __init__(self, in_features: int, hidden_features: int, **options: Any):
        """Take Flax's arguments; `recurrent_kernel_init` draws each gate's block by itself."""
        draw = options.pop("recurrent_kernel_init", _common.orthogonal)
        options["recurrent_kernel_init"] = _common.by_gate(draw, self.side_by_side)
        super().__init__(in_features, hidden_features, **options)  # type: ignore[call-arg]

    @property
    def params(self) -> Params:
        """The weights as they are, fused from the parameters."""
        return fused(self.kind, self)

    def set_params(self, params: Params) -> None:
        """Take over weights of the same shapes, from `jaxrnn.convert` for example.

        Raises:
            ValueError: shapes that are not this cell's; a GRU's recurrent candidate bias, which
                only a cell with `candidate_bias` has.
        """
        check_alike(self.kind, params, self.params)
        tree, bias = nnx_tree(self.kind, params, isinstance(self, nnx.OptimizedLSTMCell))
        arrays = {(name, k): a for name, layer in tree.items() for k, a in layer.items()}
        if getattr(self, "candidate_bias", None) is not None:
            arrays["candidate_bias", "bias"] = bias
        elif not isinstance(bias, jax.core.Tracer) and jnp.any(bias):
            raise ValueError(
                f"bh of the candidate gate is up to {jnp.abs(bias).max():.3g}; this cell has no "
                "bias there: make it with candidate_bias=True"
            )
        for (name, kind), new in arrays.items():
            layer = getattr(self, name)
            assign(layer if name == "candidate_bias" else getattr(layer, kind), new)

    def weights(self) -> Params:
        """The weights in the dtype of the computation."""
        return _common.cast(self.params, self.dtype)  # type: ignore[attr-defined]

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        carry = _checked_carry(self.kind, carry, self.hidden_features)  # type: ignore[attr-defined]
        return super().__call__(carry, inputs)  # type: ignore[misc]

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Any:
        """A carry for inputs of this shape [..., D]: zeros, which need no `rngs`.

        With `carry_init`, a Flax initialiser, it is drawn from the `carry` stream of `rngs`.
        """
        if rngs is None and getattr(self, "rngs", None) is None:
            if (carry_init or getattr(self, "carry_init", None)) is not None:
                raise ValueError("carry_init needs rngs")
            rngs = nnx.RngStream(0, tag="carry")
        return super().initialize_carry(input_shape, rngs, carry_init)  # type: ignore[misc]


class SimpleCell(Ours, nnx.SimpleCell):
    """Flax's: h' = tanh(dense_i(x) + dense_h(h)); the carry is h [..., H]."""

    kind = SimpleRNN


class LSTMCell(Ours, nnx.LSTMCell):
    """Flax's LSTM: `ii`, `if_`, `ig`, `io` and `hi`, ... `ho`; the carry is (c, h) [..., H]."""

    kind = LSTM


class OptimizedLSTMCell(Ours, nnx.OptimizedLSTMCell):
    """Flax's LSTM with the gates side by side in `dense_i` and `dense_h`.

    `recurrent_kernel_init` draws each gate's block by itself, so that all are orthogonal.
    """

    kind = LSTM
    side_by_side = 4


class GRUCell(Ours, nnx.GRUCell):
    """Flax's GRU with the gates r, z, n side by side in `dense_i` and `dense_h`; the carry is h.

    `recurrent_kernel_init` draws each gate's block by itself, so that all are orthogonal.
    """

    kind = GRU
    side_by_side = 3

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        candidate_bias: bool = False,
        **options: Any,
    ):
        """Take Flax's arguments, and one more.

        Args:
            in_features: D.
            hidden_features: H.
            candidate_bias: whether there is a bias [H] at the recurrent product of n too, as in
                cuDNN, PyTorch, Keras and Linen's GRU. Flax's NNX has none.
            options: Flax's.
        """
        super().__init__(in_features, hidden_features, **options)
        self.candidate_bias = nnx.data(None)
        if candidate_bias:
            draw = options.get("bias_init", nnx.initializers.zeros)
            array = draw(options["rngs"].params(), (hidden_features,), self.param_dtype)
            self.candidate_bias = nnx.Param(array, **options.get("bias_metadata", {}))

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        if self.candidate_bias is None:
            return super().__call__(carry, inputs)
        h = _checked_carry(self.kind, carry, self.hidden_features)
        r_x, z_x, n_x = jnp.split(self.dense_i(inputs), 3, axis=-1)
        r_h, z_h, n_h = jnp.split(self.dense_h(h), 3, axis=-1)
        r, z = self.gate_fn(r_x + r_h), self.gate_fn(z_x + z_h)
        n = self.activation_fn(n_x + r * (n_h + self.candidate_bias[...].astype(n_h.dtype)))
        h = (1 - z) * n + z * h
        return h, h


def _checked_carry(cell: Cell, carry: Any, units: int) -> Any:
    """A carry in Flax's form, of the cell's width."""
    state = _common.to_state(cell, carry)
    for name, array in zip(state._fields, state, strict=True):
        if array.shape[-1:] != (units,):
            raise ValueError(
                f"{name} of the carry has shape {array.shape}; this cell's is [..., {units}]"
            )
    return _common.to_carry(state)
