"""Runs the whole sequence in one call of kernels in C++ for CPUs: the native engine.

The forward pass runs each part of the batch through all its steps while its state is in a core's
cache. The backward pass computes the gates anew from the outputs (writing and reading them would
cost more at small sizes), and sums the weights' gradients while what is summed is still near.
Rows are sorted by length, so padding is not computed. Results do not depend on the number of
threads.

The kernels are compiled when the package is installed (`engines/_native/kernels`).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Num

from jaxrnn._cells import GRU, LSTM, AnyState, Cell, Params, SimpleRNN
from jaxrnn.engines._mesh import each_its_part, varying_alike
from jaxrnn.engines._native.library import why_not
from jaxrnn.engines._protocol import Engine
from jaxrnn.engines._reverse_mode import no_derivative, reverse_mode_only, way_out_named

CELLS = (SimpleRNN, LSTM, GRU)  # in the order of the kernels' numbers
DTYPES = ("float32", "float64")
VECTORS = ("widest", "portable", "avx2", "avx512")
KEEP_BYTES, KEEP_FEATURES = 1 << 24, 192


class _Options(NamedTuple):
    cell: Cell
    reverse: bool
    batch_major: bool
    vectors: str
    threads: int
    keep_gates: bool | None

    def attributes(self) -> dict[str, Any]:
        return {
            "cell": np.int32(CELLS.index(self.cell)),
            "vectors": np.int32(VECTORS.index(self.vectors)),
            "threads": np.int32(self.threads),
            "reverse": self.reverse,
            "batch_major": self.batch_major,
        }


def _why_not() -> str:
    if jax.default_backend() != "cpu":
        return "it runs on CPUs; JAX's default is another"
    return why_not()


def check(cell: Cell, dtype: Any) -> None:
    """Raise unless the kernels can run this cell in this dtype here."""
    instead = "use engine=jaxrnn.engines.scan"
    if cell not in CELLS:
        raise ValueError(f"the native engine has no kernel for the cell {cell.name!r}; {instead}")
    if str(dtype) not in DTYPES:
        raise TypeError(f"the native engine runs {' and '.join(DTYPES)}, not {dtype}; {instead}")
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
        ValueError: another cell than `SimpleRNN`, `LSTM` and `GRU`.
        TypeError: weights that are not float32 or float64; forward-mode differentiation.
        RuntimeError: the kernels are not available.
    """
    check(cell, params.wx.dtype)
    options = _Options(cell, reverse, batch_major, vectors, threads, keep_gates)
    run = functools.partial(_jitted, options)
    with way_out_named():
        return each_its_part(run, batch_major, params, xs, state, lengths, resets)


native = Engine(
    "native",
    _native,
    options=(("vectors", "widest"), ("threads", 0), ("keep_gates", None)),
    batch_major=True,
    why_not=_why_not,
)


@functools.partial(jax.jit, static_argnums=0)
def _jitted(
    options: _Options, params: Params, xs: Any, state: AnyState, lengths: Any, resets: Any
) -> tuple[AnyState, Array]:
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
        xs.astype(dtype).reshape(*lead, xs.shape[-1]),
        state.h.reshape(size, units),
        state.c.reshape(size, units) if options.cell is LSTM else jnp.zeros((0, 0), dtype),
        params.wx,
        params.wh,
        params.bx,
        jnp.zeros(0, dtype) if params.bh is None else params.bh,
    )
    lengths = jnp.zeros(0, jnp.int32) if lengths is None else lengths.reshape(size)
    resets = jnp.zeros((0, 0), jnp.bool_) if resets is None else resets.reshape(lead)
    args, (lengths, resets) = varying_alike(
        (jax.tree.map(reverse_mode_only, args), (lengths, resets))
    )
    hs, *end = _sequence(options, args, lengths, resets)
    fields = [field.reshape(*batch, units) for field in end[: len(state)]]
    return options.cell.state(*fields), hs.reshape(*xs.shape[:-1], units)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sequence(options: _Options, args: Any, lengths: Any, resets: Any) -> Any:
    hs, h, c, _, _ = _forward(options, args, lengths, resets, keep=False)
    return hs, h, c


def _sequence_fwd(options: _Options, args: Any, lengths: Any, resets: Any) -> Any:
    args = jax.tree.map(no_derivative, args)
    hs, h, c, cs, gates = _forward(options, args, lengths, resets, keep=True)
    return (hs, h, c), (args, lengths, resets, hs, cs, gates)


def _sequence_bwd(options: _Options, kept: Any, cotangents: Any) -> Any:
    args, *rest = kept
    operands = varying_alike(jax.tree.map(no_derivative, (*args, *rest, *cotangents)))
    results = [_like(a, a.shape, operands[0]) for a in args]
    return tuple(_call("jaxrnn_backward", results, options, operands)), None, None


_sequence.defvjp(_sequence_fwd, _sequence_bwd)


def _forward(options: _Options, args: Any, lengths: Any, resets: Any, keep: bool) -> Any:
    xs, h, c = args[:3]
    sequence = (*xs.shape[:-1], h.shape[-1])
    results = [
        _like(h, sequence, xs),
        _like(h, h.shape, xs),
        _like(c, c.shape, xs),
        _like(c, sequence if keep and c.size else (0, 0, 0), xs),
        _like(c, _gates_shape(options, xs, h) if keep else (0, 0, 0), xs),
    ]
    return _call("jaxrnn_forward", results, options, (*args, lengths, resets))


def _gates_shape(options: _Options, xs: Any, h: Any) -> tuple[int, int, int]:
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


def _call(name: str, results: Any, options: _Options, operands: Any) -> Any:
    call = jax.ffi.ffi_call(name, results, vmap_method="expand_dims")
    return call(*operands, **options.attributes())


# --- what transforms need ----------------------------------------------------------------------


def _like(array: Any, shape: tuple[int, ...], varying: Any) -> jax.ShapeDtypeStruct:
    """Describe a result of `array`'s dtype that varies over the mesh as `varying` does."""
    kind = jax.typeof(varying)
    mesh = kind.sharding.mesh
    sharding = None if mesh.empty else NamedSharding(mesh, PartitionSpec(*[None] * len(shape)))
    return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding, manual_axis_type=kind.mat)
