"""Scans a cell that the engines do not know, step by step and exact on lengths and resets."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn._checks import checked_lengths, checked_resets
from jaxrnn._zeros import varying_as


def run(
    scan: Callable[..., tuple[Any, Any]],
    inputs: Array,
    carry: Any,
    first: Any,
    *,
    time_axis: int,
    batch_axes: int,
    lengths: Any,
    resets: Any,
    reverse: bool,
    keep_order: bool,
) -> tuple[Any, Any]:
    """The carry after each sequence's last valid step, and the outputs of all steps.

    As the library's own engines do: past a sequence's length the carry is kept, outputs are zero,
    and nothing that stands there has any effect.

    Args:
        scan: `(body, carry, now) -> (carry, outputs)`, over the leading axis of `now`.
        inputs: [..., T, *features], time where `time_axis` says.
        carry: arrays [..., *any], of which any tree will do; what does not begin with the batch is
            all sequences' own, and goes on.
        first: what a reset returns to.
        time_axis: that of inputs and outputs.
        batch_axes: how many axes there are before the features, time not counted.
        lengths: valid steps, integers [...].
        resets: booleans [..., T], with time where it is in the inputs.
        reverse: run from the last valid step to the first.
        keep_order: with `reverse`, give outputs in the order of the inputs.
    """
    carry, first = jax.tree.map(jnp.asarray, (carry, first))
    xs = jnp.moveaxis(inputs, time_axis, 0)
    steps, batch = xs.shape[0], xs.shape[1 : 1 + batch_axes]
    if lengths is not None:
        lengths = checked_lengths(lengths, batch, steps)
    if resets is not None:
        shape = inputs.shape[: batch_axes + 1]
        resets = jnp.moveaxis(checked_resets("resets", resets, shape, "inputs"), time_axis, 0)
    if reverse:
        xs = turned(xs, lengths, 0)
        resets = None if resets is None else turned(resets, lengths, 0)
    valid = None
    if lengths is not None:
        valid = jnp.arange(steps, dtype=jnp.int32).reshape(-1, *[1] * lengths.ndim) < lengths
    carry = varying_as(carry, (xs, valid, resets))
    carry, outputs = scan(_step_to(first), carry, (xs, valid, resets))
    if reverse and keep_order:
        outputs = jax.tree.map(lambda a: turned(a, lengths, 0), outputs)
    return carry, jax.tree.map(lambda a: jnp.moveaxis(a, 0, time_axis), outputs)


def _step_to(first: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Give the body of the loop, in which a reset returns to `first`."""

    def body(cell: Any, carry: Any, now: tuple[Array, Any, Any]) -> tuple[Any, Any]:
        x, valid, reset = now
        before = carry if reset is None else _select(reset, first, carry, shared=carry)
        if valid is None:
            return cell(before, x)
        # The input is cleaned before the step too: NaN would come back as 0 * NaN in the gradient.
        after, y = cell(before, _select(valid, x, jnp.zeros_like(x), shared=x))
        zeros = jax.tree.map(jnp.zeros_like, y)
        return _select(valid, after, carry, shared=after), _select(valid, y, zeros, shared=y)

    return body


def turned(a: Array, lengths: Any, time_axis: int) -> Array:
    """Turn the valid steps round; the padding stays where it is."""
    if lengths is None:
        return jnp.flip(a, time_axis)
    lengths = jnp.asarray(lengths)
    others = [axis for axis in range(lengths.ndim + 1) if axis != time_axis]
    times = jnp.expand_dims(jnp.arange(a.shape[time_axis]), others)
    ends = jnp.expand_dims(lengths, time_axis)
    sources = jnp.where(times < ends, ends - 1 - times, times)
    return jnp.take_along_axis(a, _with_axes(sources, a.ndim), time_axis)


def _select(where: Array, a: Any, b: Any, shared: Any) -> Any:
    """`a` where `where` [...] holds, else `b`; for trees of arrays [..., *any].

    What does not begin with the batch, a key or a counter that all sequences have in common, is
    that of `shared`.
    """

    def select(a: Array, b: Array, shared: Array) -> Array:
        if a.shape[: where.ndim] != where.shape:
            return shared
        return jnp.where(_with_axes(where, a.ndim), a, b)

    return jax.tree.map(select, a, b, shared)


def _with_axes(a: Array, ndim: int) -> Array:
    return a.reshape(*a.shape, *[1] * (ndim - a.ndim))
