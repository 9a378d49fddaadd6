"""Defines what the library is written in: a layer's weights, its states, and a cell as data."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class State(NamedTuple):
    """The state of a SimpleRNN, a ReLURNN or a GRU: `h` [..., H], which is also the output."""

    h: Float[Array, "*batch H"]


class LSTMState(NamedTuple):
    """The state of an LSTM: output `h` [..., H] and memory `c` [..., H]."""

    h: Float[Array, "*batch H"]
    c: Float[Array, "*batch H"]


class Params(NamedTuple):
    """The weights of one recurrent layer with `D` input features, `H` units and `G` gate blocks.

    Only a cell whose gates scale the recurrent product (GRU) has `bh`; anywhere else it would
    only repeat `bx`.
    """

    wx: Float[Array, "D GH"]
    wh: Float[Array, "H GH"]
    bx: Float[Array, " GH"]
    bh: Float[Array, " GH"] | None = None


AnyState = Any  # State, LSTMState or a new cell's own NamedTuple of arrays [..., H] with a field h


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell as data; static wherever it stands in a tree of arrays.

    Attributes:
        name: the key in `CELLS`, for a cell that is there.
        gates: how many blocks of H columns a pre-activation has.
        state: the type of the state, a NamedTuple of arrays [..., H]; its field `h` is the output
            and what meets the recurrent weights.
        update: `(gx, gh, state) -> state`, elementwise over batch and units.
        gate_bias: what each gate's `bx` starts at; zeros when empty.
        recurrent_bias: whether `Params.bh` exists.
        recurrent: `(gx, h, params) -> gh`, for a cell whose `gh` is not `h @ wh (+ bh)`. Such a
            cell runs on the reference engine only: the others are made for the one product.
        activations: `(gx, gh) -> {name: array}`, the gates as `update` applies them, for
            `jaxrnn.diagnose`.
        sigmoids: the names of those activations that lie between 0 and 1.
        rectified: the names of those that are 0 where they are off, and have no upper end; all
            others lie between -1 and 1.
    """

    name: str
    gates: int
    state: type[Any]
    update: Callable[[Array, Array, AnyState], AnyState]
    gate_bias: tuple[float, ...] = ()
    recurrent_bias: bool = False
    recurrent: Callable[[Array, Array, Params], Array] | None = None
    activations: Callable[[Array, Array], dict[str, Array]] | None = None
    sigmoids: tuple[str, ...] = ()
    rectified: tuple[str, ...] = ()


def accumulation_dtype(dtype: Any) -> Any:
    """The dtype of gates and states: at least float32, so that 16-bit weights cost no memory."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)
