"""Marks the arrays of a function that has a reverse-mode gradient and nothing else.

JAX's own message for a custom gradient under `jvp` cannot name a way out; these can.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

MESSAGE = (
    "this engine has no forward-mode derivatives (jvp, jacfwd), and native no second ones at all; "
    "use engine=jaxrnn.engines.scan"
)


@contextlib.contextmanager
def way_out_named() -> Iterator[None]:
    """Name the way out where `vmap` of `jvp` (jacfwd) fails with JAX's own message."""
    try:
        yield
    except TypeError as error:
        if "forward-mode" in str(error):
            raise TypeError(MESSAGE) from error
        raise


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError(MESSAGE)


@jax.custom_jvp
def reverse_mode_only(x: Array) -> Array:
    """The identity; its tangent can be transposed and not computed."""
    return x


@reverse_mode_only.defjvp
def _tangent_of(primals: Any, tangents: Any) -> Any:
    return primals[0], _tangent.bind(tangents[0])


@jax.custom_jvp
def no_derivative(x: Array) -> Array:
    """The identity; it refuses to be differentiated at all."""
    return x


no_derivative.defjvp(_refuse)

_tangent = Primitive("jaxrnn_reverse_mode_only")
_tangent.def_impl(_refuse)
_tangent.def_abstract_eval(lambda x: x)
ad.deflinear2(_tangent, lambda cotangent, _: [cotangent])
batching.defvectorized(_tangent)
mlir.register_lowering(_tangent, _refuse)
