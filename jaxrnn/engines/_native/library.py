"""Finds the compiled kernels beside this file, loads them once and makes them known to XLA."""

import ctypes
import functools
import importlib.util
import pathlib
import re

import jax

TARGETS = ("jaxrnn_forward", "jaxrnn_backward")


@functools.cache
def load() -> ctypes.CDLL | str:
    """Load the library, or tell why there is none."""
    spec = importlib.util.find_spec("jaxrnn.engines._native._kernels")
    if spec is None or spec.origin is None:
        return (
            "its kernels were not compiled; install jaxrnn again where there is a C++ compiler "
            "(pip install -v shows what it says)"
        )
    try:
        library = ctypes.CDLL(spec.origin)
        needed, present = library.jaxrnn_interface(), interface()
        if needed > present:
            # XLA would refuse this too, but only when it starts, and then not start at all.
            return (
                f"its kernels were compiled for version {needed} of XLA's interface and jax "
                f"{jax.__version__} has {present}; upgrade jax, or install jaxrnn again with "
                "pip install --no-build-isolation"
            )
        for name in TARGETS:
            capsule = jax.ffi.pycapsule(getattr(library, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (OSError, AttributeError) as error:
        return f"its kernels cannot be loaded: {error}"
    return library


def interface() -> int:
    """The version of XLA's interface that this jax has, 1000 x major + minor, from its headers."""
    header = pathlib.Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h").read_text()
    major, minor = (
        int(re.search(rf"#define XLA_FFI_API_{part} (\d+)", header)[1])  # type: ignore[index]
        for part in ("MAJOR", "MINOR")
    )
    return 1000 * major + minor


def why_not() -> str:
    """Tell why the kernels cannot be used here; empty when they can."""
    library = load()
    return library if isinstance(library, str) else ""


def widest() -> int:
    """The number of the widest vectors of this processor: 1 portable, 2 AVX2, 3 AVX-512."""
    library = load()
    return 0 if isinstance(library, str) else int(library.jaxrnn_widest())
