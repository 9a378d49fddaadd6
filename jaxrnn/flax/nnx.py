"""Gives Flax NNX recurrent cells and `RNN`, with its own arguments and carries."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from flax.nnx import Bidirectional
from jaxtyping import Array

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN, check_params, step
from jaxrnn.engines import Engine
from jaxrnn.flax import _common

__all__ = ["RNN", "Bidirectional", "GRUCell", "LSTMCell", "OptimizedLSTMCell", "SimpleCell"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RecurrentCell(nnx.RNNCellBase):
    """A cell with its weights; a cell of your own is a subclass that sets `kind`."""

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
        """Fresh weights `wx` [D, G*H], `wh` [H, G*H], `bx` [G*H] and, for a GRU, `bh` [G*H].

        Args:
            in_features: D.
            hidden_features: H.
            kernel_init: a Flax initialiser for each gate's block of `wx`; as `jaxrnn.init` when
                not given.
            recurrent_kernel_init: the same for `wh`.
            bias_init: the same for the biases.
            dtype: of the products; that of the weights when not given. Gates and carries are at
                least float32.
            param_dtype: of the weights.
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
        """Take over weights of the same shapes, from `jaxrnn.convert` for example.

        Raises:
            ValueError: shapes that are not this cell's.
        """
        check_params(self.kind, params)
        for name, new in zip(params._fields, params, strict=True):
            variable = getattr(self, name)
            if new is not None:
                if variable.shape != new.shape:
                    raise ValueError(f"{name} has shape {new.shape}; this cell's {variable.shape}")
                variable[...] = jnp.asarray(new, variable.dtype)

    def weights(self) -> Params:
        """The weights in the dtype of the computation."""
        return _common.cast(self.params, self.dtype)

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """One step: `(carry, outputs)` from a carry and inputs [..., D]."""
        state = _common.to_state(self.kind, carry)
        state, outputs = step(self.kind, self.weights(), state, inputs)
        return _common.to_carry(state), outputs

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Any:
        """A carry for inputs of this shape [..., D]: zeros, which need no `rngs`.

        With `carry_init`, a Flax initialiser, it is drawn from the `carry` stream of `rngs`.
        """
        batch, units = tuple(input_shape[:-1]), self.hidden_features
        dtype = self.param_dtype if self.dtype is None else self.dtype
        if carry_init is None:
            return _common.zero_carry(self.kind, batch, units, dtype)
        if rngs is None:
            raise ValueError("carry_init needs rngs")
        key = rngs.carry() if isinstance(rngs, nnx.Rngs) else rngs()
        return _common.drawn_carry(self.kind, carry_init, key, batch, units, dtype)

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
    """The GRU with gates r, z, n and, unlike Flax's, both biases; the carry is h [..., H]."""

    kind = GRU


class RNN(nnx.Module):
    """Runs a cell of this module over time, exactly on ragged batches and under every transform.

    Args of the constructor are those of `flax.nnx.RNN`. `unroll` steps are compiled into one turn
    of the loop by an engine that has this option. `rngs` is accepted and not used, as nothing is
    drawn; `state_axes` and `broadcast_rngs` do not exist, as no module is lifted. `engine` is that
    of `jaxrnn.unroll`.
    """

    def __init__(
        self,
        cell: nnx.Module,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        unroll: int = 1,
        rngs: Any = True,
        engine: Engine | Callable[..., Any] | None = None,
    ):
        if not isinstance(cell, RecurrentCell):
            raise TypeError(
                f"cell is a {type(cell).__module__}.{type(cell).__name__}; this RNN runs the cells "
                "of jaxrnn.flax.nnx: change that import too"
            )
        self.cell = cell
        self.time_major, self.return_carry = time_major, return_carry
        self.reverse, self.keep_order = reverse, keep_order
        self.unroll, self.engine = unroll, engine

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """Outputs [..., T, H], or `(carry, outputs)` with `return_carry`.

        Args:
            inputs: [..., T, D], or [T, ..., D] with `time_major`.
            initial_carry: h [..., H], or (c, h) for an LSTM; zeros when not given.
            seq_lengths: valid steps of each sequence, integers [...]. The carry is that after the
                last of them, and outputs past it are zero.
            return_carry: these four are the constructor's where not given.
            time_major: whether time is the first axis.
            reverse: run from the last valid step to the first.
            keep_order: with `reverse`, give the outputs in the order of the inputs.
            rngs: not used.
        """
        return _common.run(
            self.cell.kind,
            self.cell.weights(),
            inputs,
            initial_carry,
            seq_lengths,
            time_major=self.time_major if time_major is None else time_major,
            return_carry=self.return_carry if return_carry is None else return_carry,
            reverse=self.reverse if reverse is None else reverse,
            keep_order=self.keep_order if keep_order is None else keep_order,
            unroll=self.unroll,
            engine=self.engine,
        )
