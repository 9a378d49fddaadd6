"""Runs a cell over time: checks what `unroll` is given and hands it to an engine."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxrnn._cells import AnyState, Cell, Params, accumulation_dtype, check_params
from jaxrnn.engines import Engine, choose
from jaxrnn.engines._protocol import as_engine


def unroll(
    cell: Cell,
    params: Params,
    xs: ArrayLike,
    state: AnyState | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    time_major: bool = False,
    engine: Engine | Callable[..., Any] | None = None,
) -> tuple[AnyState, Float[Array, "..."]]:
    """Run a recurrent layer over a batch of sequences.

    For each sequence, `state, hs[t] = step(cell, params, state, xs[t])` for every t in turn.

    Args:
        cell: `SimpleRNN`, `LSTM`, `GRU` or your own.
        params: the layer's weights, from `init`.
        xs: inputs [..., T, D] with any number of batch axes, none included.
        state: the state before the first step, arrays [..., H]; zeros when not given.
        lengths: valid steps of each sequence, integers [...] in 0..T. Past them the state is
            kept, outputs are zero, and nothing that stands in `xs` has any effect.
        resets: booleans [..., T]; where true, the state returns to zero before that step
            (packed sequences, ends of episodes). In reverse, too, "before" is in the order in
            which the steps are run.
        reverse: run from the last valid step to the first; outputs keep the layout of `xs`.
        time_major: `xs`, `resets` and the outputs are [T, ..., F].
        engine: how to run it, one of `jaxrnn.engines` (`native.with_options(threads=1)` is one,
            too) or a function with their signature; chosen for you when not given.

    Returns:
        The state after the last valid step, arrays [..., H], and the outputs hs [..., T, H].

    Raises:
        ValueError: shapes that do not fit, or, outside `jit`, a length below 0 or above T.
        TypeError: lengths that are not integers, resets that are not booleans.

    >>> import jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, input_size=3, hidden_size=4)
    >>> xs, lengths = jnp.ones((2, 5, 3)), jnp.array([5, 2])
    >>> state, hs = jaxrnn.unroll(jaxrnn.LSTM, params, xs, lengths=lengths)
    >>> hs.shape, state.h.shape, bool(jnp.all(hs[1, 1] == state.h[1]))
    ((2, 5, 4), (2, 4), True)
    """
    check_params(cell, params)
    xs = jnp.asarray(xs)
    if xs.ndim < 2:
        raise ValueError(f"xs has shape {xs.shape}; it needs a time and a feature axis")
    if xs.shape[-1] != params.wx.shape[0]:
        raise ValueError(f"xs has {xs.shape[-1]} features; wx expects {params.wx.shape[0]}")
    batch = xs.shape[1:-1] if time_major else xs.shape[:-2]
    steps = xs.shape[0] if time_major else xs.shape[-2]
    if lengths is not None:
        lengths = _checked_lengths(lengths, batch, steps)
    if resets is not None:
        resets = _checked_resets(resets, (steps, *batch) if time_major else (*batch, steps))
    state = (
        _zero_state(cell, params, xs, 0 if time_major else -2)
        if state is None
        else _checked_state(cell, params, state, batch)
    )
    chosen = choose(cell, params.wx.dtype) if engine is None else as_engine(engine)
    return chosen.run(
        cell, params, xs, state, lengths=lengths, resets=resets, reverse=bool(reverse),
        batch_major=not time_major,
    )  # fmt: skip


def _zero_state(cell: Cell, params: Params, xs: Array, time_axis: int) -> AnyState:
    """Zeros that vary over the mesh as the inputs do.

    Inside `shard_map` and on Explicit meshes a scan's carry must have the type that its body
    returns, and plain `jnp.zeros` does not. The product's values are never used, so it is free.
    """
    first = jnp.sum(xs[:1] if time_axis == 0 else xs[..., :1, :], axis=time_axis).astype(
        params.wx.dtype
    )
    zeros = jnp.zeros_like(
        (first @ params.wx)[..., : params.wh.shape[0]], dtype=accumulation_dtype(params.wh.dtype)
    )
    return cell.state(*[zeros for _ in cell.state._fields])


# Sizes are Any in what follows: an int, or a symbol of `jax.export`.


def _checked_state(cell: Cell, params: Params, state: AnyState, batch: tuple[Any, ...]) -> AnyState:
    if type(state) is not cell.state:
        raise TypeError(
            f"state is a {type(state).__name__}; {cell.name} needs a {cell.state.__name__}"
        )
    shape = (*batch, params.wh.shape[0])
    for name, array in zip(state._fields, state, strict=True):
        if array.shape != shape:
            raise ValueError(f"state.{name} has shape {array.shape}; xs and wh ask for {shape}")
    return jax.tree.map(lambda a: a.astype(accumulation_dtype(params.wh.dtype)), state)


def _checked_lengths(lengths: Any, batch: tuple[Any, ...], steps: Any) -> Array:
    lengths = jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths has dtype {lengths.dtype}; it counts steps and must be integer")
    if lengths.shape != batch:
        raise ValueError(f"lengths has shape {lengths.shape}; the batch of xs is {batch}")
    if not isinstance(lengths, jax.core.Tracer) and lengths.is_fully_addressable:
        # NumPy, as a constant inside somebody's jit cannot be inspected with jnp.
        values = np.asarray(lengths)
        for wrong in values[(values < 0) | (values > steps)].flat:
            raise ValueError(f"lengths holds {wrong}; xs has {steps} steps (0 to {steps} allowed)")
    return lengths.astype(jnp.int32)


def _checked_resets(resets: Any, shape: tuple[Any, ...]) -> Array:
    resets = jnp.asarray(resets)
    if resets.dtype != jnp.bool_:
        raise TypeError(f"resets has dtype {resets.dtype}; it must be bool")
    if resets.shape != shape:
        raise ValueError(f"resets has shape {resets.shape}; xs asks for {shape}")
    return resets
