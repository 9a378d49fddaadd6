"""Defines NNX's `RecurrentCell`: any cell of the library's form, also one of your own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxrnn._cells import Cell, Params
from jaxrnn.flax import _common
from jaxrnn.flax.nnx._weights import assign, check_alike

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RecurrentCell(nnx.RNNCellBase):
    """A cell of the library's form; one of your own is a subclass that sets `kind`.

    Parameters are `wx` [D, G*H], `wh` [H, G*H], `bx` [G*H] and, where the cell has it, `bh`.
    """

    kind: ClassVar[Cell]

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        kernel_init: Any = None,
        recurrent_kernel_init: Any = None,
        bias_init: Any = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_metadata: Mapping[str, Any] = _NOTHING,
        recurrent_kernel_metadata: Mapping[str, Any] = _NOTHING,
        bias_metadata: Mapping[str, Any] = _NOTHING,
        rngs: nnx.Rngs,
    ):
        """Fresh weights.

        Args:
            in_features: D.
            hidden_features: H.
            kernel_init: a Flax initialiser for each gate's block of `wx`; as `jaxrnn.init` when
                not given.
            recurrent_kernel_init: the same for `wh`.
            bias_init: the same for the biases.
            dtype: of the products; that of what meets in them when not given.
            param_dtype: of the weights and of a fresh carry.
            kernel_metadata: of the variable `wx`, its sharding for example.
            recurrent_kernel_metadata: of `wh`.
            bias_metadata: of `bx` and `bh`.
            rngs: where `params` keys come from.
        """
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype, self.param_dtype = dtype, param_dtype

        def param(name: str, custom: Any, metadata: Mapping[str, Any]) -> nnx.Param:
            draw = _common.initializer(self.kind, name, custom, in_features, hidden_features)
            return nnx.Param(draw(rngs.params(), param_dtype), **metadata)

        self.wx = param("wx", kernel_init, kernel_metadata)
        self.wh = param("wh", recurrent_kernel_init, recurrent_kernel_metadata)
        self.bx = param("bx", bias_init, bias_metadata)
        self.bh = param("bh", bias_init, bias_metadata) if self.kind.recurrent_bias else None

    @property
    def params(self) -> Params:
        """The weights as they are."""
        bh = None if self.bh is None else self.bh[...]
        return Params(self.wx[...], self.wh[...], self.bx[...], bh)

    def set_params(self, params: Params) -> None:
        """Take over weights of the same shapes.

        Raises:
            ValueError: shapes that are not this cell's.
        """
        check_alike(self.kind, params, self.params)
        for name, new in zip(params._fields, params, strict=True):
            if new is not None:
                assign(getattr(self, name), new)

    def weights(self) -> Params:
        """The weights in the dtype of the computation."""
        return _common.cast(self.params, self.dtype)

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        return _common.one_step(self.kind, self.weights(), carry, inputs, self.dtype)

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Any:
        """A carry for inputs of this shape [..., D]: zeros, which need no `rngs`.

        With `carry_init`, a Flax initialiser, it is drawn from the `carry` stream of `rngs`.
        """
        if carry_init is not None and rngs is None:
            raise ValueError("carry_init needs rngs")
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        return _common.drawn_carry(
            self.kind, carry_init or nnx.initializers.zeros, stream or (lambda: None),
            (*input_shape[:-1], self.hidden_features), self.param_dtype,
        )  # fmt: skip

    @property
    def num_feature_axes(self) -> int:
        """One: features stand in the last axis."""
        return 1
