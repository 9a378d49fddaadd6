"""Follows Flax's conventions, for NNX and Linen: carries, initialisers, arguments of its `RNN`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn._cells import AnyState, Cell, LSTMState, Params, accumulation_dtype, init
from jaxrnn._unroll import unroll as unroll_cell
from jaxrnn.engines import Engine, choose
from jaxrnn.engines._protocol import as_engine


def to_state(cell: Cell, carry: Any) -> AnyState:
    """Read the state from a carry: Flax's is the array `h`, or `(c, h)` for an LSTM."""
    if isinstance(carry, cell.state):
        return carry
    if cell.state is LSTMState:
        c, h = carry
        return LSTMState(h=h, c=c)
    return cell.state(carry)


def to_carry(state: AnyState) -> Any:
    """The inverse of `to_state`; a state that Flax does not know is its own carry."""
    if isinstance(state, LSTMState):
        return state.c, state.h
    return state[0] if len(state) == 1 else state


def zero_carry(cell: Cell, batch: tuple[int, ...], units: int, dtype: Any) -> Any:
    """Zeros [*batch, H], at least float32."""
    zeros = jnp.zeros((*batch, units), accumulation_dtype(dtype))
    return to_carry(cell.state(*[zeros for _ in cell.state._fields]))


def drawn_carry(
    cell: Cell, carry_init: Any, key: Array, batch: tuple[int, ...], units: int, dtype: Any
) -> Any:
    """Draw a carry from a Flax initialiser, each field with a key of its own."""
    names = cell.state._fields
    keys = jax.random.split(key, len(names))
    shape, dtype = (*batch, units), accumulation_dtype(dtype)
    return to_carry(cell.state(*[carry_init(k, shape, dtype) for k in keys]))


def initializer(
    cell: Cell, name: str, custom: Callable[..., Any] | None, features: int, units: int
) -> Callable[[Array, Any], Any]:
    """Give the function that draws the array `name` of `Params`: `(key, dtype) -> array`.

    A Flax initialiser is called for each gate's block by itself, so that orthogonal blocks are
    orthogonal and fans are those of one gate.
    """

    def draw(key: Array, dtype: Any) -> Any:
        if custom is None:
            return getattr(init(key, cell, features, units, dtype=dtype), name)
        rows = {"wx": (features,), "wh": (units,)}.get(name, ())
        blocks = [custom(k, (*rows, units), dtype) for k in jax.random.split(key, cell.gates)]
        # A tree, as a block may come in a box with the names of its axes.
        return jax.tree.map(lambda *b: jnp.concatenate(b, axis=-1), *blocks)

    return draw


def cast(params: Params, dtype: Any) -> Params:
    """Weights in the dtype of the computation; as they are when it is None."""
    return params if dtype is None else jax.tree.map(lambda a: a.astype(dtype), params)


def run(
    cell: Cell,
    params: Params,
    inputs: Array,
    initial_carry: Any,
    seq_lengths: Any,
    *,
    time_major: bool,
    return_carry: bool,
    reverse: bool,
    keep_order: bool,
    unroll: int,
    engine: Engine | Callable[..., Any] | None,
) -> Any:
    """Flax's `RNN.__call__`: outputs, or `(carry, outputs)`.

    In reverse and without `keep_order` outputs come as they were computed, last step first, with
    the padding still after them.
    """
    engine = choose(cell, params.wx.dtype) if engine is None else as_engine(engine)
    if unroll != 1 and "unroll" in dict(engine.options):
        engine = engine.with_options(unroll=unroll)
    state, hs = unroll_cell(
        cell,
        params,
        inputs,
        None if initial_carry is None else to_state(cell, initial_carry),
        lengths=seq_lengths,
        reverse=reverse,
        time_major=time_major,
        engine=engine,
    )
    if reverse and not keep_order:
        hs = _flipped(hs, seq_lengths, 0 if time_major else hs.ndim - 2)
    return (to_carry(state), hs) if return_carry else hs


def _flipped(hs: Array, lengths: Any, time_axis: int) -> Array:
    """Turn the valid steps round; the padding stays where it is."""
    if lengths is None:
        return jnp.flip(hs, time_axis)
    others = [axis for axis in range(hs.ndim - 1) if axis != time_axis]
    times = jnp.expand_dims(jnp.arange(hs.shape[time_axis]), others)
    ends = jnp.expand_dims(jnp.asarray(lengths), time_axis)
    sources = jnp.where(times < ends, ends - 1 - times, times)
    return jnp.take_along_axis(hs, sources[..., None], time_axis)
