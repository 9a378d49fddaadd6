"""Binds a program that is chosen when it is lowered: one way for CPUs and one for all others.

Which platform a program is for is known then and not when it is traced, for a CPU may export a
program for a GPU. Only the way that is chosen is ever traced.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from jaxrnn.engines import _levels
from jaxrnn.engines._levels import Level


@runtime_checkable
class Program(Protocol):
    """Two ways to compute the same arrays from the same operands: static, as are its options."""

    def results(self, shapes: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Give the results' shapes; their dtype and how they vary are the first operand's."""

    def on_cpu(self, *operands: Any) -> Sequence[Any]:
        """Compute the results on a CPU."""

    def elsewhere(self, *operands: Any) -> Sequence[Any]:
        """Compute them on any other platform."""


def run(program: Program, *operands: Any) -> list[Any]:
    """Compute the results of `program`."""
    results: list[Any] = _layer.bind(*operands, program=program, levels=())
    return results


_layer = Primitive("jaxrnn_layer")
_layer.multiple_results = True
_levels.register(_layer)


@_layer.def_abstract_eval
def _types(*operands: Any, program: Program, levels: Sequence[Level]) -> list[Any]:
    lead = tuple(_levels.sizes(levels, operands))
    own = [_levels.own_shape(levels, operands, n) for n in range(len(operands))]
    first = operands[0]
    return [_levels.result(first, (*lead, *s), first.dtype) for s in program.results(own)]


def _on_cpu(*operands: Any, program: Program, levels: Sequence[Level]) -> Any:
    return _levels.mapped(program.on_cpu, levels)(*operands)


def _elsewhere(*operands: Any, program: Program, levels: Sequence[Level]) -> Any:
    return _levels.mapped(program.elsewhere, levels)(*operands)


_layer.def_impl(jax.jit(_layer.bind, static_argnames=("program", "levels")))
mlir.register_lowering(_layer, mlir.lower_fun(_elsewhere, multiple_results=True))
mlir.register_lowering(_layer, mlir.lower_fun(_on_cpu, multiple_results=True), platform="cpu")
