"""Runs the whole sequence in one call of kernels in C++ for CPUs: the native engine.

The forward pass runs each part of the batch through all its steps while its state is in a core's
cache. The backward pass computes the gates anew from the outputs (writing and reading them would
cost more at small sizes), and sums the weights' gradients while what is summed is still near.
Rows are sorted by length, so padding is not computed. Results do not depend on the number of
threads.

The kernels are compiled when the package is installed (`engines/_native/kernels`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from jaxrnn._cells import LSTM, AnyState, Cell, Params
from jaxrnn._checks import is_debugged
from jaxrnn.engines import _derivatives
from jaxrnn.engines._mesh import each_its_part, varying_alike
from jaxrnn.engines._native.library import why_not
from jaxrnn.engines._native.operation import CELLS, ROUNDINGS, Layer
from jaxrnn.engines._protocol import Engine

DTYPES = ("float32", "float64", "bfloat16", "float16")


def check(cell: Cell, dtype: Any) -> None:
    """Raise unless the kernels can run this cell in this dtype here."""
    instead = "use engine=jaxrnn.engines.scan"
    if cell not in CELLS:
        raise ValueError(f"the native engine has no kernel for the cell {cell.name!r}; {instead}")
    if str(dtype) not in DTYPES:
        raise TypeError(f"the native engine runs {', '.join(DTYPES)}, not {dtype}; {instead}")
    if why_not():
        raise RuntimeError(f"the native engine cannot run: {why_not()}; {instead}")


def _native(
    cell: Cell,
    params: Params,
    xs: Num[Array, "*lead D"],
    state: AnyState,
    *,
    lengths: Int[Array, "*batch"] | None,
    resets: Bool[Array, "*lead"] | None,
    reverse: bool,
    batch_major: bool,
    vectors: str,
    threads: int,
    keep_gates: bool | None,
) -> tuple[AnyState, Float[Array, "*lead H"]]:
    """Run `cell` over the steps of `xs`, as `engines.scan` does.

    Options:
        vectors: "portable", "avx2", "avx512", or the widest that the processor has.
        threads: use at most this many of the runtime's threads; all of them when 0.
        keep_gates: keep the gates for the backward pass, or compute them anew there; when not
            given, whichever is faster at the size. Kept, they take four times the memory of the
            outputs (SimpleRNN keeps none).

    Raises:
        ValueError: another cell than `SimpleRNN`, `LSTM`, `GRU` and `ReLURNN`.
        TypeError: weights of another dtype than float32, float64, bfloat16 and float16.
        RuntimeError: the kernels are not available.
    """
    check(cell, params.wx.dtype)
    dtype = str(params.wx.dtype)
    rounding = dtype if dtype in ROUNDINGS else None
    options = Layer(
        cell, reverse, batch_major, vectors, threads, keep_gates, rounding, clear=is_debugged()
    )
    run = functools.partial(_jitted, options)
    return each_its_part(run, batch_major, params, xs, state, lengths, resets)


native = Engine(
    "native",
    _native,
    options=(("vectors", "widest"), ("threads", 0), ("keep_gates", None)),
    batch_major=True,
    why_not=why_not,
)


@functools.partial(jax.jit, static_argnums=0)
def _jitted(
    options: Layer, params: Params, xs: Any, state: AnyState, lengths: Any, resets: Any
) -> tuple[AnyState, Array]:
    params, xs = _widened(options, params, xs)
    dtype = params.wx.dtype
    units = params.wh.shape[0]
    time = -2 if options.batch_major else 0
    batch = xs.shape[:-2] if options.batch_major else xs.shape[1:-1]
    steps = xs.shape[time]
    size = 1
    for n in batch:
        size *= n
    lead = (size, steps) if options.batch_major else (steps, size)
    # What is absent is passed as an empty array, so that a call always has the same arguments.
    args = (
        xs.reshape(*lead, xs.shape[-1]),
        state.h.reshape(size, units),
        state.c.reshape(size, units) if options.cell is LSTM else jnp.zeros((0, 0), dtype),
        params.wx,
        params.wh,
        params.bx,
        jnp.zeros(0, dtype) if params.bh is None else params.bh,
    )
    lengths = jnp.zeros(0, jnp.int32) if lengths is None else lengths.reshape(size)
    resets = jnp.zeros((0, 0), jnp.bool_) if resets is None else resets.reshape(lead)
    args, masks = varying_alike((args, (lengths, resets)))
    hs, *end = _derivatives.run(options, args, masks)
    fields = [field.reshape(*batch, units) for field in end[: len(state)]]
    return options.cell.state(*fields), hs.reshape(*xs.shape[:-1], units)


def _widened(options: Layer, params: Params, xs: Any) -> tuple[Params, Any]:
    """Give xs in the dtype of the weights, and both in the one that the kernels compute in."""
    dtype = params.wx.dtype
    if options.rounding is None:
        return params, xs.astype(dtype)
    if xs.dtype != dtype:
        # A conversion there and back is dropped by XLA's simplifier.
        kind = jnp.finfo(dtype)
        xs = jax.lax.reduce_precision(xs.astype(jnp.float32), kind.nexp, kind.nmant)
    return jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))
