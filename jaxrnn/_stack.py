"""Stacks layers and directions, as folds over `unroll`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxrnn import parallel
from jaxrnn._cells import AnyState, Cell, Params, init
from jaxrnn._unroll import unroll
from jaxrnn.engines import Engine

StackParams = tuple[tuple[Params, ...], ...]  # [layer][direction]; forward first
StackState = tuple[tuple[AnyState, ...], ...]


def init_stack(
    key: Array,
    cell: Cell,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    *,
    dtype: Any = jnp.float32,
) -> StackParams:
    """Draw fresh weights for `num_layers` layers, one on top of the other.

    Returns:
        `params[layer][direction]`: one `Params` a layer, or two (forward, backward) when
        bidirectional. Layer 0 reads D features, every further one H (2 H when bidirectional).

    Raises:
        ValueError: a size or number of layers below 1.

    >>> import jaxrnn
    >>> params = init_stack(jax.random.key(0), jaxrnn.GRU, 3, 4, num_layers=2, bidirectional=True)
    >>> [[direction.wx.shape for direction in layer] for layer in params]
    [[(3, 12), (3, 12)], [(8, 12), (8, 12)]]
    """
    if num_layers < 1:
        raise ValueError(f"num_layers is {num_layers}; it must be at least 1")
    directions = 2 if bidirectional else 1
    sizes = [input_size] + [directions * hidden_size] * (num_layers - 1)
    return tuple(
        tuple(
            init(k, cell, size, hidden_size, dtype=dtype)
            for k in jax.random.split(layer_key, directions)
        )
        for layer_key, size in zip(jax.random.split(key, num_layers), sizes, strict=True)
    )


def unroll_stack(
    cell: Cell,
    params: StackParams,
    xs: ArrayLike,
    states: StackState | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    dropout: float = 0.0,
    key: Array | None = None,
    axis_name: str | None = None,
    time_major: bool = False,
    engine: Engine | Callable[..., Any] | None = None,
) -> tuple[StackState, Float[Array, "..."]]:
    """Run a stack of layers: each reads the outputs of the one below.

    Arguments are those of `unroll`, but for these:

    Args:
        params: `params[layer][direction]`, from `init_stack`.
        states: `states[layer][direction]`; zeros when not given.
        resets: booleans [..., T]; a new sequence begins at that step. The backward direction of
            a bidirectional layer is reset accordingly, at that sequence's last step.
        dropout: the share of units that is dropped between two layers, in [0, 1). Variational:
            one mask a sequence, the same for all its steps (Gal and Ghahramani, 2016). Nothing
            is dropped before the first layer or after the last.
        key: a `jax.random.key`, needed when `dropout` is above 0.
        axis_name: inside `pmap` and `shard_map`, the axis that the first batch axis is split
            over: the masks are then those of the whole batch, bit for bit.

    Returns:
        The final states `states[layer][direction]`, and the last layer's outputs [..., T, H], or
        [..., T, 2 H] with the forward half first.

    Raises:
        ValueError: as `unroll`; `dropout` outside [0, 1), or above 0 without a key.

    >>> import jaxrnn
    >>> params = init_stack(jax.random.key(0), jaxrnn.LSTM, 3, 4, num_layers=2, bidirectional=True)
    >>> states, hs = unroll_stack(jaxrnn.LSTM, params, jnp.ones((2, 5, 3)))
    >>> hs.shape, states[1][0].c.shape
    ((2, 5, 8), (2, 4))
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; it must be at least 0 and below 1")
    if dropout > 0 and key is None:
        raise ValueError(f"dropout is {dropout}, which needs a key")
    if states is not None and len(states) != len(params):
        raise ValueError(f"states has {len(states)} layers; params has {len(params)}")
    batch_axis = 1 if time_major else 0
    if axis_name is not None and dropout > 0 and jnp.ndim(xs) < 3:
        raise ValueError(f"dropout inside axis {axis_name!r} needs a batch axis in xs")
    finals, hs = [], jnp.asarray(xs)
    for number, layer in enumerate(params):
        if number > 0 and dropout > 0 and key is not None:
            shape = list(hs.shape)
            shape[0 if time_major else -2] = 1
            keep = parallel.bernoulli(
                jax.random.fold_in(key, number), 1 - dropout, tuple(shape), axis_name,
                batch_axis=batch_axis,
            )  # fmt: skip
            hs = jnp.where(keep, hs / (1 - dropout), 0)
        layer_states = (None,) * len(layer) if states is None else states[number]
        ends, outputs = [], []
        for backward, (weights, state) in enumerate(zip(layer, layer_states, strict=True)):
            end, output = unroll(
                cell,
                weights,
                hs,
                state,
                lengths=lengths,
                resets=_mirrored(resets, lengths, time_major) if backward else resets,
                reverse=bool(backward),
                time_major=time_major,
                engine=engine,
            )
            ends.append(end)
            outputs.append(output)
        finals.append(tuple(ends))
        hs = outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=-1)
    return tuple(finals), hs


def _mirrored(resets: Any, lengths: Any, time_major: bool) -> Any:
    """Where the backward direction is reset: a sequence's last step instead of its first."""
    if resets is None:
        return None
    time_axis = 0 if time_major else -1
    starts = jnp.moveaxis(jnp.asarray(resets), time_axis, 0)
    ends = jnp.concatenate([starts[1:], jnp.zeros_like(starts[:1])])
    if lengths is not None:
        # A reset past the last valid step is padding: the first step backward keeps its state.
        lengths = jnp.asarray(lengths)
        after = jnp.arange(1, len(starts) + 1, dtype=lengths.dtype)
        ends &= after.reshape(-1, *[1] * lengths.ndim) < lengths
    return jnp.moveaxis(ends, 0, time_axis)
