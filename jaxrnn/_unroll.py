"""Runs a cell over time: checks what `unroll` is given and hands it to an engine."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxrnn._checks import (
    checked_inputs,
    checked_lengths,
    checked_params,
    checked_resets,
    checked_state,
    is_debugged,
)
from jaxrnn._mask import masked
from jaxrnn._types import AnyState, Cell, Params
from jaxrnn._zeros import varying_as, zero_state
from jaxrnn.engines import Engine, choose
from jaxrnn.engines._protocol import as_engine


def unroll(
    cell: Cell,
    params: Params,
    xs: ArrayLike,
    state: AnyState | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
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
        state: the state before the first step, arrays [..., H], cast to the dtype of gates;
            zeros when not given.
        lengths: valid steps of each sequence, integers [...] in 0..T. Past them the state is
            kept, outputs are zero, and nothing that stands in `xs` has any effect.
        mask: booleans or numbers [..., T] in any pattern, in place of `lengths`; where false, which
            is zero, there is no step: the state is kept, the output is zero, and neither `xs` nor
            `resets` have any effect.
        resets: booleans or numbers [..., T]; where true, which is not zero, the state returns to
            zero before that step (packed sequences, ends of episodes). In reverse, too, "before"
            is in the order in which the steps are run.
        reverse: run from the last valid step to the first; outputs keep the layout of `xs`.
        time_major: `xs`, `mask`, `resets` and the outputs are [T, ..., F].
        engine: how to run it, one of `jaxrnn.engines` (`native.with_options(threads=1)` is one,
            too) or a function with their signature; chosen for you when not given.

    Returns:
        The state after the last valid step, arrays [..., H], and the outputs hs [..., T, H].

    Raises:
        ValueError: shapes that do not fit, both `lengths` and `mask`, or, outside `jit`, a length
            below 0 or above T.
        TypeError: weights or a state that are not this cell's; lengths that are not integers;
            complex numbers.

    >>> import jax, jax.numpy as jnp, jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, input_size=3, hidden_size=4)
    >>> xs, lengths = jnp.ones((2, 5, 3)), jnp.array([5, 2])
    >>> state, hs = jaxrnn.unroll(jaxrnn.LSTM, params, xs, lengths=lengths)
    >>> hs.shape, state.h.shape, bool(jnp.all(hs[1, 1] == state.h[1]))
    ((2, 5, 4), (2, 4), True)
    """
    params = checked_params(cell, params)
    xs = checked_inputs("xs", xs, params, axes=2)
    axes = range(1, xs.ndim - 1) if time_major else range(xs.ndim - 2)
    batch = tuple(xs.shape[axis] for axis in axes)
    steps = xs.shape[0] if time_major else xs.shape[-2]
    if mask is not None:
        run = functools.partial(
            unroll, cell, params, state=state, reverse=reverse, time_major=time_major, engine=engine
        )
        return masked(run, xs, mask, resets, lengths, time_major)
    if lengths is not None:
        lengths = checked_lengths(lengths, batch, steps)
        if is_debugged():  # else an engine clears the padding, where it costs nothing
            xs = _cleaned(xs, lengths, steps, time_major)
    if resets is not None:
        shape = (steps, *batch) if time_major else (*batch, steps)
        resets = checked_resets("resets", resets, shape, "xs")
    if state is None:
        state = zero_state(cell, params, batch, xs, axes)
    else:
        state = checked_state(cell, params, state, batch, "xs")
    state = varying_as(state, (params, xs, lengths, resets))
    chosen = choose(cell, params.wx.dtype) if engine is None else as_engine(engine)
    return chosen.run(
        cell, params, xs, state, lengths=lengths, resets=resets, reverse=bool(reverse),
        batch_major=not time_major,
    )  # fmt: skip


def _cleaned(xs: Array, lengths: Array, steps: Any, time_major: bool) -> Array:
    """Clear the padding, at once: JAX looks at what every operation outside a program gives."""
    times = jnp.arange(steps, dtype=lengths.dtype)
    times = times.reshape(-1, *[1] * lengths.ndim) if time_major else times
    valid = times < (lengths if time_major else lengths[..., None])
    return jnp.where(valid[..., None], xs, jnp.zeros((), xs.dtype))
