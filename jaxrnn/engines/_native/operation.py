"""Declares the layer that the kernels compute: what it keeps, and what other platforms run.

The kernels are for CPUs; a program for another platform runs the fused engine's loops.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrnn._cells import GRU, LSTM, Cell, Params, ReLURNN, SimpleRNN
from jaxrnn.engines import _platforms
from jaxrnn.engines._fused import Layer as Loop
from jaxrnn.engines._mesh import varying_alike
from jaxrnn.engines._scan import scan

CELLS = (SimpleRNN, LSTM, GRU, ReLURNN)  # in the order of the kernels' numbers
VECTORS = ("widest", "portable", "avx2", "avx512")
ROUNDINGS = (None, "bfloat16", "float16")
MANY_ROWS, FAR_BYTES = 64, 1 << 20
KEEP_BYTES, KEEP_FEATURES = 1 << 24, 192


class Layer(NamedTuple):
    """The operation: args are xs [B, T, D] or [T, B, D], h, c, weights; masks lengths and resets.

    What is absent is an empty array, so that a call always has the same operands. The outputs are
    hs and the last h and c. With `rounding` all arrays are float32, weights and xs hold numbers of
    that 16-bit dtype, and h is rounded to it where it meets the weights. With `clear` what is kept
    of steps past a length is zero, as JAX may look there for NaN.
    """

    cell: Cell
    reverse: bool
    batch_major: bool
    vectors: str
    threads: int
    keep_gates: bool | None
    rounding: str | None = None
    clear: bool = False

    def plain(self, args: Any, masks: Any) -> Any:
        """Run the scan."""
        params, xs, state, *masks = self.as_scan_has_them(args, masks)
        lengths, resets = masks
        state, hs = scan(
            self.cell, params, xs, state, lengths=lengths, resets=resets, reverse=self.reverse
        )
        return self.turned(hs), state.h, getattr(state, "c", args[2])

    def forward(self, args: Any, masks: Any, keep: bool) -> Any:
        """Call the kernel on a CPU; elsewhere run the fused engine's loop."""
        hs, h, c, *kept = _platforms.run(Forward(self, keep), *args, *masks)
        return (hs, h, c), tuple(kept)

    def backward(self, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any) -> Any:
        """Call the kernel on a CPU; elsewhere run the loop of the fused engine's gradient."""
        operands = varying_alike((*args, *masks, outs[0], *kept, *cotangents))
        return tuple(_platforms.run(Backward(self), *operands))

    def turned(self, a: Any) -> Any:
        """Between the kernels' layout and the scan's, either way."""
        return jnp.moveaxis(a, 1, 0) if self.batch_major else a

    def as_scan_has_them(self, args: Any, masks: Any) -> Any:
        xs, h, c, wx, wh, bx, bh = args
        lengths, resets = masks
        params = Params(wx, wh, bx, bh if self.cell.recurrent_bias else None)
        if self.rounding:  # exact: they come from it
            params, xs = jax.tree.map(lambda a: a.astype(self.rounding), (params, xs))
        state = self.cell.state(*(h, c)[: len(self.cell.state._fields)])
        return (
            params,
            self.turned(xs),
            state,
            lengths if lengths.shape[0] == h.shape[0] and h.shape[0] else None,
            self.turned(resets) if resets.size else None,
        )

    def attributes(self) -> dict[str, Any]:
        """Name the options as the kernels' call has them."""
        return {
            "cell": np.int32(CELLS.index(self.cell)),
            "vectors": np.int32(VECTORS.index(self.vectors)),
            "threads": np.int32(self.threads),
            "rounding": np.int32(ROUNDINGS.index(self.rounding)),
            "reverse": self.reverse,
            "batch_major": self.batch_major,
            "clear": self.clear,
        }


class Forward(NamedTuple):
    """The forward pass: operands are args and masks; results hs, h, c, and cs and gates as kept.

    On a CPU cs holds c after each step, elsewhere c before it: only `Backward` reads it.
    """

    layer: Layer
    keep: bool

    def results(self, shapes: Any) -> list[Any]:
        """Give the shapes of what is computed; what is not kept is empty."""
        xs, h, c = shapes[:3]
        sequence = (*xs[:-1], h[-1])
        cs = sequence if self.keep and c[0] else (0, 0, 0)
        return [sequence, h, c, cs, _gates_shape(self.layer, xs, h) if self.keep else (0, 0, 0)]

    def on_cpu(self, *operands: Any) -> Any:
        """Call the kernel, where that is the faster way."""
        if _is_two_products(self.layer, operands):
            return self.elsewhere(*operands)
        return _call("jaxrnn_forward", self, self.layer, operands)

    def elsewhere(self, *operands: Any) -> Any:
        """Run the fused engine's loop."""
        args, masks = operands[:7], operands[7:]
        layer = self.layer
        params, xs, state, lengths, resets = layer.as_scan_has_them(args, masks)
        loop = Loop(layer.cell, layer.reverse)
        (end, hs), before = loop.forward((params, xs, state), (lengths, resets), self.keep)
        *_, cs_shape, gates_shape = self.results([a.shape for a in args])
        cs = jnp.zeros(cs_shape, hs.dtype)
        if cs.size:
            cs = layer.turned(before[0].c)
        results = layer.turned(hs), end.h, getattr(end, "c", args[2]), cs
        return varying_alike((*results, jnp.zeros(gates_shape, hs.dtype), xs))[:-1]


class Backward(NamedTuple):
    """The backward pass: operands are args, masks, hs, cs, gates and the outputs' cotangents."""

    layer: Layer

    def results(self, shapes: Any) -> list[Any]:
        """Give the shapes of the cotangents of args."""
        return list(shapes[:7])

    def on_cpu(self, *operands: Any) -> Any:
        """Call the kernel, where that is the faster way."""
        if _is_two_products(self.layer, operands):
            return self.elsewhere(*operands)
        return _call("jaxrnn_backward", self, self.layer, operands)

    def elsewhere(self, *operands: Any) -> Any:
        """Run the fused engine's loop of the gradient, what it read computed anew."""
        args, masks, (hs, cs, _, dhs, dh, dc) = operands[:7], operands[7:9], operands[9:]
        layer = self.layer
        params, xs, state, lengths, resets = layer.as_scan_has_them(args, masks)
        hs, dhs = layer.turned(hs), layer.turned(dhs)
        befores = state._replace(h=_before(hs, state.h, lengths, resets, layer.reverse))
        end = state._replace(h=dh)
        if layer.cell is LSTM:
            befores = befores._replace(c=layer.turned(cs))
            end = end._replace(c=dc)
        loop = Loop(layer.cell, layer.reverse)
        kept = (befores, loop.read(params, xs, befores, lengths))
        d_params, dxs, d_state = loop.backward(
            (params, xs, state), (lengths, resets), None, kept, (end, dhs)
        )
        bh = args[6] if d_params.bh is None else d_params.bh
        weights = (d_params.wx, d_params.wh, d_params.bx, bh)
        results = layer.turned(dxs), d_state.h, getattr(d_state, "c", args[2]), *weights
        return [result.astype(hs.dtype) for result in results]


def _is_two_products(layer: Layer, operands: Any) -> bool:
    """Whether this is one step of many rows with large weights: then XLA's products are faster.

    The kernels would pack weights that they use once: LSTM, 256 rows, 512 features and units, 1.4
    times slower than the scan's with the gradient; as fast as it at a sixteenth of the weights.
    """
    xs, _, _, *weights = operands[:5]
    rows, steps = xs.shape[:2] if layer.batch_major else xs.shape[1::-1]
    far = sum(w.size * w.dtype.itemsize for w in weights) > FAR_BYTES
    return bool(steps == 1 and rows > MANY_ROWS and far)


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


def _gates_shape(layer: Layer, xs: Any, h: Any) -> tuple[int, int, int]:
    """Give the shape of the gates kept for the backward pass; empty when it computes them anew.

    To compute, a row's gates cost D + H products each; to write, the same whatever D and H are.
    Large arrays cost more: every page of them is new in every call.
    """
    if layer.cell.gates == 1:
        return (0, 0, 0)
    shape = (*xs[:-1], 4 * h[-1])
    keep = layer.keep_gates
    if keep is None:
        # Of 4 bytes each: in float64 the same gates are kept, as a shape knows no dtype.
        keep = 4 * np.prod(shape) <= KEEP_BYTES or xs[-1] + h[-1] >= KEEP_FEATURES
    return shape if keep else (0, 0, 0)


def _call(name: str, program: Any, layer: Layer, operands: Any) -> Any:
    shapes = program.results([a.shape for a in operands])
    results = [_like(operands[0], shape) for shape in shapes]
    call = jax.ffi.ffi_call(name, results, vmap_method="expand_dims")
    return call(*operands, **layer.attributes())


def _like(array: Any, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """Describe a result of `array`'s dtype that varies over the mesh as `array` does."""
    kind = jax.typeof(array)
    mesh = kind.sharding.mesh
    sharding = None if mesh.empty else NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    return jax.ShapeDtypeStruct(shape, kind.dtype, sharding=sharding, manual_axis_type=kind.mat)
