"""Declares the layer that the kernels compute: what it keeps, and what other platforms run.

The kernels are for CPUs. Which platform a program is for is known when it is lowered and not when
it is traced, for a CPU may export a program for a GPU: until then both ways are in it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN
from jaxrnn.engines._fused import Layer as Loop
from jaxrnn.engines._mesh import varying_alike
from jaxrnn.engines._scan import scan

CELLS = (SimpleRNN, LSTM, GRU)  # in the order of the kernels' numbers
VECTORS = ("widest", "portable", "avx2", "avx512")
KEEP_BYTES, KEEP_FEATURES = 1 << 24, 192


class Layer(NamedTuple):
    """The operation: args are xs [B, T, D] or [T, B, D], h, c, weights; masks lengths and resets.

    What is absent is an empty array, so that a call always has the same operands. The outputs are
    hs and the last h and c.
    """

    cell: Cell
    reverse: bool
    batch_major: bool
    vectors: str
    threads: int
    keep_gates: bool | None

    def plain(self, args: Any, masks: Any) -> Any:
        """Run the scan."""
        params, xs, state, *masks = self._as_scan_has_them(args, masks)
        lengths, resets = masks
        state, hs = scan(
            self.cell, params, xs, state, lengths=lengths, resets=resets, reverse=self.reverse
        )
        return self._turned(hs), state.h, getattr(state, "c", args[2])

    def forward(self, args: Any, masks: Any, keep: bool) -> Any:
        """Call the kernel on a CPU; elsewhere run the fused engine's loop."""
        return jax.lax.platform_dependent(
            args,
            masks,
            cpu=functools.partial(self._forward_kernel, keep),
            default=functools.partial(_forward_elsewhere, self, keep),
        )

    def backward(self, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any) -> Any:
        """Call the kernel on a CPU; elsewhere run the loop of the fused engine's gradient."""
        cotangents = varying_alike((cotangents, args[0]))[0]
        return jax.lax.platform_dependent(
            args, masks, outs, kept, cotangents,
            cpu=self._backward_kernel, default=functools.partial(_backward_elsewhere, self),
        )  # fmt: skip

    def _forward_kernel(self, keep: bool, args: Any, masks: Any) -> Any:
        results = self._results(args, keep)
        hs, h, c, *kept = _call("jaxrnn_forward", results, self, (*args, *masks))
        return (hs, h, c), tuple(kept)

    def _backward_kernel(self, args: Any, masks: Any, outs: Any, kept: Any, cts: Any) -> Any:
        results = [_like(a, a.shape, args[0]) for a in args]
        operands = varying_alike((*args, *masks, outs[0], *kept, *cts))
        return tuple(_call("jaxrnn_backward", results, self, operands))

    def forward_elsewhere(self, keep: bool, args: Any, masks: Any) -> Any:
        """Run the fused engine's loop."""
        params, xs, state, lengths, resets = self._as_scan_has_them(args, masks)
        loop = Loop(self.cell, self.reverse)
        (end, hs), before = loop.forward((params, xs, state), (lengths, resets), keep)
        *_, like_cs, like_gates = self._results(args, keep)
        cs = _zeros(like_cs)
        if cs.size:
            cs = self._turned(before[0].c)
        outs = self._turned(hs), end.h, getattr(end, "c", args[2])
        return varying_alike((outs, (cs, _zeros(like_gates)), xs))[:2]

    def backward_elsewhere(self, args: Any, masks: Any, outs: Any, kept: Any, cts: Any) -> Any:
        """Run the fused engine's loop of the gradient, what it read computed anew."""
        params, xs, state, lengths, resets = self._as_scan_has_them(args, masks)
        hs, dhs = (self._turned(a) for a in (outs[0], cts[0]))
        befores = state._replace(h=_before(hs, state.h, lengths, resets, self.reverse))
        end = state._replace(h=cts[1])
        if self.cell is LSTM:
            befores = befores._replace(c=self._turned(kept[0]))
            end = end._replace(c=cts[2])
        loop = Loop(self.cell, self.reverse)
        kept = (befores, loop.read(params, xs, befores, lengths))
        d_params, dxs, d_state = loop.backward(
            (params, xs, state), (lengths, resets), outs, kept, (end, dhs)
        )
        bh = args[6] if d_params.bh is None else d_params.bh
        weights = (d_params.wx, d_params.wh, d_params.bx, bh)
        dc = getattr(d_state, "c", args[2])
        return self._turned(dxs), d_state.h, dc, *weights

    def _turned(self, a: Any) -> Any:
        """Between the kernels' layout and the scan's, either way."""
        return jnp.moveaxis(a, 1, 0) if self.batch_major else a

    def _as_scan_has_them(self, args: Any, masks: Any) -> Any:
        xs, h, c, wx, wh, bx, bh = args
        lengths, resets = masks
        params = Params(wx, wh, bx, bh if self.cell.recurrent_bias else None)
        state = self.cell.state(*(h, c)[: len(self.cell.state._fields)])
        return (
            params,
            self._turned(xs),
            state,
            lengths if lengths.shape[0] == h.shape[0] and h.shape[0] else None,
            self._turned(resets) if resets.size else None,
        )

    def _results(self, args: Any, keep: bool) -> list[jax.ShapeDtypeStruct]:
        xs, h, c = args[:3]
        sequence = (*xs.shape[:-1], h.shape[-1])
        return [
            _like(h, sequence, xs),
            _like(h, h.shape, xs),
            _like(c, c.shape, xs),
            _like(c, sequence if keep and c.size else (0, 0, 0), xs),
            _like(c, _gates_shape(self, xs, h) if keep else (0, 0, 0), xs),
        ]

    def attributes(self) -> dict[str, Any]:
        """Name the options as the kernels' call has them."""
        return {
            "cell": np.int32(CELLS.index(self.cell)),
            "vectors": np.int32(VECTORS.index(self.vectors)),
            "threads": np.int32(self.threads),
            "reverse": self.reverse,
            "batch_major": self.batch_major,
        }


# Jitted, so that what a CPU does not run is traced once for its shapes.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward_elsewhere(layer: Layer, keep: bool, args: Any, masks: Any) -> Any:
    return layer.forward_elsewhere(keep, args, masks)


@functools.partial(jax.jit, static_argnums=0)
def _backward_elsewhere(
    layer: Layer, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any
) -> Any:
    return layer.backward_elsewhere(args, masks, outs, kept, cotangents)


def _before(hs: Any, start: Any, lengths: Any, resets: Any, reverse: bool) -> Any:
    """Give h before each step [T, B, H], from h after each."""
    steps = hs.shape[0]
    if reverse:
        moved = jnp.concatenate([hs[1:], start[None]])[:steps]
        if lengths is not None:  # the first step that is run is the last valid one
            first = jnp.arange(1, steps + 1, dtype=jnp.int32)[:, None] >= lengths
            moved = jnp.where(first[..., None], start, moved)
    else:
        moved = jnp.concatenate([start[None], hs[:-1]])[:steps]
    return moved if resets is None else jnp.where(resets[..., None], 0, moved)


def _zeros(like: Any) -> Any:
    return jnp.zeros(like.shape, like.dtype)


def _gates_shape(options: Layer, xs: Any, h: Any) -> tuple[int, int, int]:
    """Give the shape of the gates kept for the backward pass; empty when it computes them anew.

    To compute, a row's gates cost D + H products each; to write, the same whatever D and H are.
    Large arrays cost more: every page of them is new in every call.
    """
    if options.cell is SimpleRNN:
        return (0, 0, 0)
    shape = (*xs.shape[:-1], 4 * h.shape[-1])
    keep = options.keep_gates
    if keep is None:
        small = np.prod(shape) * h.dtype.itemsize <= KEEP_BYTES
        keep = small or xs.shape[-1] + h.shape[-1] >= KEEP_FEATURES
    return shape if keep else (0, 0, 0)


def _call(name: str, results: Any, options: Layer, operands: Any) -> Any:
    call = jax.ffi.ffi_call(name, results, vmap_method="expand_dims")
    return call(*operands, **options.attributes())


# --- what transforms need ----------------------------------------------------------------------


def _like(array: Any, shape: tuple[int, ...], varying: Any) -> jax.ShapeDtypeStruct:
    """Describe a result of `array`'s dtype that varies over the mesh as `varying` does."""
    kind = jax.typeof(varying)
    mesh = kind.sharding.mesh
    sharding = None if mesh.empty else NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding, manual_axis_type=kind.mat)
