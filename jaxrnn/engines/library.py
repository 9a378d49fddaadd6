"""The compiled kernels: found beside this file, loaded once, made known to XLA."""

import ctypes
import functools
import importlib.util

import jax

TARGETS = ("jaxrnn_forward", "jaxrnn_backward")


@functools.cache
def load() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    spec = importlib.util.find_spec("jaxrnn.engines._kernels")
    if spec is None or spec.origin is None:
        return (
            "its kernels were not compiled; install jaxrnn again where there is a C++ compiler "
            "(pip install -v shows what it says)"
        )
    try:
        library = ctypes.CDLL(spec.origin)
        for name in TARGETS:
            capsule = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except Exception as error:
        return f"its kernels were compiled for another jax or another machine: {error}"
    return library


def why_not() -> str:
    """Why the kernels cannot be used here; empty when they can."""
    library = load()
    return library if isinstance(library, str) else ""


def widest() -> int:
    """The number of the widest vectors of this processor: 1 portable, 2 AVX2, 3 AVX-512."""
    library = load()
    return 0 if isinstance(library, str) else int(library.jaxrnn_widest())
