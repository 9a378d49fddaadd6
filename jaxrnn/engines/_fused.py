"""Runs the scan with a gradient of its own, whose weight products are deferred: the fused engine.

JAX's gradient of a scan carries every weight's gradient through the loop and adds one small product
to each of them at every step. Here the backward loop computes only what the step before needs,

    dgx, dgh, dstate = vjp of `update`          # elementwise
    dstate.h += dgh @ wh^T

and stores dgx and dgh. Each of the others is one product over all T * B rows: xs @ wx before the
forward loop; xs^T dgx, h_(t-1)^T dgh and dgx @ wx^T after the backward loop. On GPUs and TPUs,
where every operation in a loop is a launch, that is what counts.

Nothing here knows a cell: any that is one product and an elementwise update will do.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from jaxrnn._cells import AnyState, Cell, Params, accumulation_dtype, product
from jaxrnn.engines import _derivatives
from jaxrnn.engines._mesh import each_its_part, varying_alike
from jaxrnn.engines._protocol import Engine
from jaxrnn.engines._scan import scan, select


class Layer(NamedTuple):
    """The operation: args are params, xs [T, *batch, D] and state; masks lengths and resets.

    The outputs are the last state and hs.
    """

    cell: Cell
    reverse: bool
    unroll: int = 1

    def plain(self, args: Any, masks: Any) -> Any:
        """Run the scan."""
        params, xs, state = args
        lengths, resets = masks
        engine = scan.with_options(unroll=self.unroll)
        return engine(
            self.cell, params, xs, state, lengths=lengths, resets=resets, reverse=self.reverse
        )

    def forward(self, args: Any, masks: Any, keep: bool) -> Any:
        """Run the loop; keep the state before each step and what its update read."""
        lengths, resets = masks
        end, (hs, kept), gxs = _forward(self, args, lengths, resets, keep)
        if not keep:
            return (end, hs), ()
        befores, pre = kept
        # Where only the sum gx + gh is read, it is all that is kept.
        return (end, hs), (befores, (pre, None) if _adds(self.cell, args[0]) else (gxs, pre))

    def backward(self, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any) -> Any:
        """Run the loop of the gradient, and the products that are deferred."""
        befores, pre = kept
        return _backward(self, args, masks, befores, pre, cotangents)

    def read(self, params: Params, xs: Array, befores: AnyState, lengths: Array | None) -> Any:
        """Compute what each step's update read anew, from the states before the steps."""
        gxs = product(_cleaned(xs, _valid(xs, lengths)), params.wx, params.bx)
        ghs = product(befores.h, params.wh, params.bh)
        return (gxs + ghs, None) if _adds(self.cell, params) else (gxs, ghs)


def _fused(
    cell: Cell,
    params: Params,
    xs: Num[Array, "T *batch D"],
    state: AnyState,
    *,
    lengths: Int[Array, "*batch"] | None,
    resets: Bool[Array, "T *batch"] | None,
    reverse: bool,
    unroll: int = 1,
) -> tuple[AnyState, Float[Array, "T *batch H"]]:
    """Run `cell` over the leading axis of `xs`, as `engines.scan` does.

    In 16 bits its weight gradients are more exact than those of the scan: they are summed over the
    steps in float32 and rounded once.

    Options:
        unroll: how many steps are compiled into one turn of the loop.

    Raises:
        ValueError: a cell with a `recurrent` of its own, such as `ResetBeforeGRU`.
    """
    if cell.recurrent is not None:
        raise ValueError(
            f"the fused engine defers one recurrent product and {cell.name!r} has its own; "
            "use engine=jaxrnn.engines.scan"
        )
    run = functools.partial(_jitted, Layer(cell, reverse, unroll))
    return each_its_part(run, False, params, xs, state, lengths, resets)


fused = Engine("fused", _fused, options=(("unroll", 1),))


@functools.partial(jax.jit, static_argnums=0)
def _jitted(
    layer: Layer, params: Params, xs: Any, state: AnyState, lengths: Any, resets: Any
) -> tuple[AnyState, Array]:
    args, masks = varying_alike(((params, xs.astype(params.wx.dtype), state), (lengths, resets)))
    return _derivatives.run(layer, args, masks)


def _forward(layer: Layer, args: Any, lengths: Any, resets: Any, keep: bool) -> Any:
    cell, (params, xs, start) = layer.cell, args
    valid = _valid(xs, lengths)
    gxs = product(_cleaned(xs, valid), params.wx, params.bx)
    adds = _adds(cell, params)

    def body(state: AnyState, now: Any) -> Any:
        gx, valid, reset = now
        before = state if reset is None else select(reset, _zeros(state), state)
        gh = product(before.h, params.wh, params.bh)
        after = cell.update(gx, gh, before)
        h = after.h
        if valid is not None:
            after, h = select(valid, after, state), select(valid, h, jnp.zeros_like(h))
        return after, (h, (before, gx + gh if adds else gh) if keep else None)

    end, outputs = jax.lax.scan(
        body, start, (gxs, valid, resets), reverse=layer.reverse, unroll=layer.unroll
    )
    return end, outputs, gxs


def _backward(
    layer: Layer, args: Any, masks: Any, befores: AnyState, pre: Any, cotangents: Any
) -> Any:
    cell, (params, xs, _), (lengths, resets) = layer.cell, args, masks
    d_end, dhs = varying_alike((*cotangents, xs))[:2]
    valid = _valid(xs, lengths)
    wx, wh = params.wx, params.wh

    def body(d_state: AnyState, now: Any) -> Any:
        (gx, gh), before, dh, valid, reset = now
        d_after = d_state._replace(h=d_state.h + dh)
        if valid is not None:
            d_after = select(valid, d_after, _zeros(d_after))
        dgx, dgh, d_before = _pulled(cell, gx, gh, before, d_after)
        dh = product(dgx if dgh is None else dgh, wh.T, None)
        d_before = d_before._replace(h=d_before.h + dh)
        if reset is not None:
            d_before = select(reset, _zeros(d_before), d_before)
        if valid is not None:
            d_before = select(valid, d_before, d_state)
        return d_before, (dgx, dgh)

    d_start, (dgxs, dghs) = jax.lax.scan(
        body, d_end, (pre, befores, dhs, valid, resets),
        reverse=not layer.reverse, unroll=layer.unroll,
    )  # fmt: skip
    dghs = dgxs if dghs is None else dghs
    d_params = Params(
        wx=_deferred(_cleaned(xs, valid), dgxs, wx.dtype),
        wh=_deferred(befores.h, dghs, wh.dtype),
        bx=_summed(dgxs).astype(params.bx.dtype),
        bh=None if params.bh is None else _summed(dghs).astype(params.bh.dtype),
    )
    return d_params, product(dgxs, wx.T, None).astype(xs.dtype), d_start


def _pulled(cell: Cell, gx: Array, gh: Array | None, before: AnyState, d_after: AnyState) -> Any:
    """Give the gradients by gx, gh and the state before; None for gh's where gx is their sum."""
    if gh is not None:
        return jax.vjp(cell.update, gx, gh, before)[1](d_after)
    dz, d_before = jax.vjp(lambda z, s: cell.update(z, jnp.zeros_like(z), s), gx, before)[1](
        d_after
    )
    return dz, None, d_before


def _adds(cell: Cell, params: Params) -> bool:
    """Whether `update` reads gx and gh as their sum alone, as SimpleRNN and LSTM do.

    Then both have the same gradient, which is one variable in the program of the gradient: half as
    much is kept and written.
    """

    def gradients(gx: Array, gh: Array, state: AnyState) -> Any:
        after, pull = jax.vjp(cell.update, gx, gh, state)
        return pull(after)[:2]

    units = params.wh.shape[0]
    one = functools.partial(jax.ShapeDtypeStruct, dtype=accumulation_dtype(params.wh.dtype))
    state = cell.state(*[one((units,)) for _ in cell.state._fields])
    program = jax.make_jaxpr(gradients)(one(params.wx.shape[1:]), one(params.wh.shape[1:]), state)
    by_gx, by_gh = program.jaxpr.outvars
    return by_gx is by_gh


def _valid(xs: Array, lengths: Array | None) -> Array | None:
    """Which steps are no padding [T, *batch]; None when all are."""
    if lengths is None:
        return None
    times = jnp.arange(xs.shape[0], dtype=jnp.int32)
    return times.reshape(-1, *[1] * lengths.ndim) < lengths


def _cleaned(xs: Array, valid: Array | None) -> Array:
    """Clear the padding of `xs`: a NaN in it would come back as 0 * NaN in a product."""
    return xs if valid is None else select(valid, xs, jnp.zeros_like(xs))


def _zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def _deferred(a: Array, b: Array, dtype: Any) -> Array:
    """Multiply [T, *batch, M] and [T, *batch, N] over all rows at once, to [M, N].

    There is no reshape to T * B rows, which would move a batch that is split over devices.
    """
    rows = tuple(range(a.ndim - 1))
    out = accumulation_dtype(dtype)
    return jnp.tensordot(
        a.astype(dtype), b.astype(dtype), (rows, rows), preferred_element_type=out
    ).astype(dtype)


def _summed(a: Array) -> Array:
    return jnp.sum(a, tuple(range(a.ndim - 1)))
