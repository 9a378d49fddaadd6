"""Stacks layers and directions, as folds over `unroll`."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxrnn import parallel
from jaxrnn._cells import init
from jaxrnn._checks import (
    check_key,
    check_size,
    check_stack,
    check_states_of_stack,
    checked_inputs,
    checked_resets,
)
from jaxrnn._mask import masked
from jaxrnn._types import AnyState, Cell, Params
from jaxrnn._unroll import unroll
from jaxrnn.engines import Engine

StackParams = tuple[tuple[Params, ...], ...]  # [layer][direction]; forward first
StackState = tuple[tuple[AnyState, ...], ...]


def init_stack(
    key: Array,
    cell: Cell,
    input_size: int,
    hidden_size: SupportsIndex | Iterable[SupportsIndex],
    num_layers: int | None = None,
    bidirectional: bool = False,
    *,
    dtype: Any = jnp.float32,
) -> StackParams:
    """Draw fresh weights for layers one on top of the other.

    Args:
        key: a `jax.random.key`.
        cell: `SimpleRNN`, `LSTM`, `GRU` or your own.
        input_size: D, the features of one step.
        hidden_size: H, the units of every layer, or a list with each layer's own.
        num_layers: how many; 1, or as many as the list has, when not given.
        bidirectional: whether every layer has a backward direction, too.
        dtype: of every array.

    Returns:
        `params[layer][direction]`: one `Params` a layer, or two (forward, backward) when
        bidirectional. Layer 0 reads D features, every further one the H of the layer below (2 H
        when bidirectional).

    Raises:
        ValueError: a size or number of layers below 1; `num_layers` that is not as many as there
            are sizes.

    >>> import jaxrnn
    >>> params = init_stack(jax.random.key(0), jaxrnn.GRU, 3, 4, num_layers=2, bidirectional=True)
    >>> [[direction.wx.shape for direction in layer] for layer in params]
    [[(3, 12), (3, 12)], [(8, 12), (8, 12)]]
    """
    check_key(key)
    units = _units_of_layers(hidden_size, num_layers)
    directions = 2 if bidirectional else 1
    sizes = [input_size, *(directions * below for below in units[:-1])]
    return tuple(
        tuple(
            init(k, cell, size, layer_units, dtype=dtype)
            for k in jax.random.split(layer_key, directions)
        )
        for layer_key, size, layer_units in zip(
            jax.random.split(key, len(units)), sizes, units, strict=True
        )
    )


def _units_of_layers(hidden_size: Any, num_layers: Any) -> list[Any]:
    if num_layers is not None:
        check_size("num_layers", num_layers)
    if not isinstance(hidden_size, Iterable):
        check_size("hidden_size", hidden_size)
        return [hidden_size] * (1 if num_layers is None else num_layers)
    sizes = list(hidden_size)
    if not sizes:
        raise ValueError("hidden_size has no layers; give the units of each")
    if num_layers not in (None, len(sizes)):
        raise ValueError(f"num_layers is {num_layers}; hidden_size has {len(sizes)} layers")
    for number, units in enumerate(sizes):
        check_size(f"hidden_size[{number}]", units)
    return [int(units) for units in sizes]


def unroll_stack(
    cell: Cell,
    params: StackParams,
    xs: ArrayLike,
    states: StackState | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
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
        resets: booleans or numbers [..., T]; where true, which is not zero, a new sequence begins.
            The backward direction of a bidirectional layer is reset accordingly, at that
            sequence's last step.
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
        TypeError: as `unroll`; weights that are not a stack; a `dropout` that is traced.

    >>> import jaxrnn
    >>> params = init_stack(jax.random.key(0), jaxrnn.LSTM, 3, 4, num_layers=2, bidirectional=True)
    >>> states, hs = unroll_stack(jaxrnn.LSTM, params, jnp.ones((2, 5, 3)))
    >>> hs.shape, states[1][0].c.shape
    ((2, 5, 8), (2, 4))
    """
    check_stack(cell, params)
    _check_dropout(dropout, key)
    if states is not None:
        check_states_of_stack(states, params)
    finals, hs = [], checked_inputs("xs", xs, params[0][0], axes=2)
    batch_axis = 1 if time_major else 0
    if axis_name is not None and dropout > 0 and hs.ndim < 3:
        raise ValueError(f"dropout inside axis {axis_name!r} needs a batch axis in xs")
    resets = None if resets is None else checked_resets("resets", resets, None, "xs")
    if mask is not None:
        # Once for all layers; the steps that are left are then what their resets stand between.
        run = functools.partial(
            unroll_stack, cell, params, states=states, dropout=dropout, key=key,
            axis_name=axis_name, time_major=time_major, engine=engine,
        )  # fmt: skip
        return masked(run, hs, mask, resets, lengths, time_major)
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


def _check_dropout(dropout: Any, key: Any) -> None:
    """Raise unless this is a share that can be dropped, with a key where there is one to drop."""
    if isinstance(dropout, jax.core.Tracer):
        raise TypeError(
            "dropout is traced; the rate decides what is compiled: give a Python number, as a "
            "static argument of your jit (static_argnames) for example"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; it must be at least 0 and below 1")
    if dropout > 0:
        if key is None:
            raise ValueError(f"dropout is {dropout}, which needs a key")
        check_key(key)


def _mirrored(resets: Any, lengths: Any, time_major: bool) -> Any:
    """Where the backward direction is reset: a sequence's last step instead of its first."""
    if resets is None:
        return None
    time_axis = 0 if time_major else -1
    starts = jnp.moveaxis(resets, time_axis, 0)
    ends = jnp.concatenate([starts[1:], jnp.zeros_like(starts[:1])])
    if lengths is not None:
        # A reset past the last valid step is padding: the first step backward keeps its state.
        lengths = jnp.asarray(lengths)
        after = jnp.arange(1, len(starts) + 1, dtype=lengths.dtype)
        ends &= after.reshape(-1, *[1] * lengths.ndim) < lengths
    return jnp.moveaxis(ends, 0, time_axis)
