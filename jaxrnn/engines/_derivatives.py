"""Gives an engine that brings a gradient all of JAX's derivatives.

JAX's `custom_vjp` has reverse mode and refuses every other. Here the tangent of an engine's forward
pass is one linear primitive. Transposed, as in reverse mode, it is the engine's backward pass;
evaluated, as in forward mode, it is the tangent of a plain program with the same outputs. What is
differentiated again is that program, too. So every order and mode is there, and first-order reverse
mode, which training needs, is the engine's own.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir

from jaxrnn.engines import _levels
from jaxrnn.engines._levels import Level


@runtime_checkable
class Operation(Protocol):
    """What an engine computes, with its options: a static value, equal ones compile once.

    `args` are arrays that have a gradient, `masks` those that have none; trees, both.
    """

    def plain(self, args: Any, masks: Any) -> Any:
        """Compute the outputs by operations that JAX differentiates."""

    def forward(self, args: Any, masks: Any, keep: bool) -> tuple[Any, Any]:
        """Compute the outputs, and where `keep` what `backward` needs of the way there."""

    def backward(self, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any) -> Any:
        """Compute the cotangents of `args` from those of the outputs."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def run(op: Operation, args: Any, masks: Any) -> Any:
    """Run an operation; its outputs have every derivative by `args`."""
    return op.forward(args, masks, False)[0]


@functools.partial(run.defjvp, symbolic_zeros=True)
def _run_jvp(op: Operation, primals: Any, tangents: Any) -> Any:
    outs, kept = _keeping(op, *primals)
    return outs, _tangents(op, (*primals, outs, kept), tangents[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _keeping(op: Operation, args: Any, masks: Any) -> Any:
    return op.forward(args, masks, True)


@functools.partial(_keeping.defjvp, symbolic_zeros=True)
def _keeping_jvp(op: Operation, primals: Any, tangents: Any) -> Any:
    outs, kept = _keeping(op, *primals)
    # Nobody differentiates what is kept: a second derivative is the plain program's.
    still = jax.tree.map(jnp.zeros_like, kept)
    return (outs, kept), (_tangents(op, (*primals, outs, kept), tangents[0]), still)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _backward(op: Operation, args: Any, masks: Any, outs: Any, kept: Any, cotangents: Any) -> Any:
    return op.backward(args, masks, outs, kept, cotangents)


@_backward.defjvp
def _backward_jvp(op: Operation, primals: Any, tangents: Any) -> Any:
    args, masks, *_, cotangents = primals

    def plain(args: Any, cotangents: Any) -> Any:
        return jax.vjp(lambda args: op.plain(args, masks), args)[1](cotangents)[0]

    moved = jax.jvp(plain, (args, cotangents), (tangents[0], tangents[-1]))[1]
    return _backward(op, *primals), moved


# --- the tangent: a primitive, linear in its last operands ---------------------------------------

_tangent = Primitive("jaxrnn_tangent")
_tangent.multiple_results = True
_levels.register(_tangent)


def _tangents(op: Operation, fixed: Any, moving: Any) -> Any:
    """Give the outputs' tangents: `fixed` are args, masks, outs and what is kept."""
    leaves, tree = jax.tree.flatten(fixed)
    moved = jax.tree.leaves(moving, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    present = tuple(not isinstance(leaf, SymbolicZero) for leaf in moved)
    outs = fixed[2]
    if not any(present):
        return jax.tree.map(jnp.zeros_like, outs)
    operands = [*leaves, *(leaf for leaf, there in zip(moved, present, strict=True) if there)]
    results = _tangent.bind(*operands, op=op, tree=tree, present=present, levels=())
    return jax.tree.unflatten(jax.tree.structure(outs), results)


def _split(operands: Sequence[Any], present: Level) -> tuple[list[Any], list[Any]]:
    count = len(operands) - sum(present)
    return list(operands[:count]), list(operands[count:])


def _evaluated(
    *operands: Any, op: Operation, tree: Any, present: Level, levels: Sequence[Level]
) -> list[Any]:
    """Compute the tangent by the plain program."""

    def one(*operands: Any) -> list[Any]:
        fixed, moving = _split(operands, present)
        args, masks, *_ = jax.tree.unflatten(tree, fixed)
        leaves, args_tree = jax.tree.flatten(args)
        at = [n for n, there in enumerate(present) if there]

        def plain(*moved: Any) -> Any:
            for n, leaf in zip(at, moved, strict=True):
                leaves[n] = leaf
            return op.plain(jax.tree.unflatten(args_tree, leaves), masks)

        points = tuple(leaves[n] for n in at)
        return jax.tree.leaves(jax.jvp(plain, points, tuple(moving))[1])

    return list(_levels.mapped(one, levels)(*operands))


_evaluate = jax.jit(_evaluated, static_argnames=("op", "tree", "present", "levels"))
_tangent.def_impl(_evaluate)
mlir.register_lowering(_tangent, mlir.lower_fun(_evaluated, multiple_results=True))


@_tangent.def_abstract_eval
def _types(*operands: Any, op: Any, tree: Any, present: Level, levels: Sequence[Level]) -> Any:
    """The outputs' own types, under the axes that are mapped over."""
    numbered = jax.tree.unflatten(tree, range(tree.num_leaves))
    lead = _levels.sizes(levels, operands)
    return [
        _levels.result(
            operands[n], (*lead, *_levels.own_shape(levels, operands, n)), operands[n].dtype
        )
        for n in jax.tree.leaves(numbered[2])
    ]


def _transposed(
    cotangents: Any, *operands: Any, op: Operation, tree: Any, present: Level, levels: Any
) -> list[Any]:
    fixed, moving = _split(operands, present)
    results = [ad.instantiate_zeros(ct) for ct in cotangents]
    outs_tree = jax.tree.structure(jax.tree.unflatten(tree, fixed)[2])

    def one(fixed: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        args, masks, outs, kept = jax.tree.unflatten(tree, fixed)
        cts = jax.tree.unflatten(outs_tree, cotangents)
        leaves = jax.tree.leaves(_backward(op, args, masks, outs, kept, cts))
        return [leaf for leaf, there in zip(leaves, present, strict=True) if there]

    function: Any = one
    for level in reversed(levels):
        function = _mapped_and_summed(function, level, len(fixed))
    each = function(fixed, results)
    return [None] * len(fixed) + [
        ct if ad.is_undefined_primal(operand) else None
        for ct, operand in zip(each, moving, strict=True)
    ]


def _mapped_and_summed(function: Any, level: Level, count: int) -> Any:
    """Map over the axis in front; what is the same for all gets the sum of their cotangents."""
    in_axes = [0 if there else None for there in level[:count]]

    def outer(fixed: Any, cotangents: Any) -> list[Any]:
        each = jax.vmap(function, in_axes=(in_axes, 0))(fixed, cotangents)
        return [
            ct if there else jnp.sum(ct, 0) for ct, there in zip(each, level[count:], strict=True)
        ]

    return outer


ad.primitive_transposes[_tangent] = _transposed


def _differentiated(
    primals: Any, tangents: Any, *, present: Level, levels: Any, **params: Any
) -> Any:
    """The derivative of a tangent: linear in its last operands, the plain program's otherwise."""
    results = _tangent.bind(*primals, present=present, levels=levels, **params)
    count = len(primals) - sum(present)
    moved = [n for n, t in enumerate(tangents) if not isinstance(t, ad.Zero)]
    # Those of masks, outputs and what is kept follow from those of the arguments.
    moved = [n for n in moved if n < len(present) or n >= count]
    points = tuple(primals[n] for n in moved)
    along = tuple(tangents[n] for n in moved)

    def plain(*values: Any) -> list[Any]:
        operands = list(primals)
        for n, value in zip(moved, values, strict=True):
            operands[n] = value
        return _evaluated(*operands, present=present, levels=levels, **params)

    if all(n >= count for n in moved):
        zeros = [jnp.zeros_like(p) for p in primals[count:]]
        for n, tangent in zip(moved, along, strict=True):
            zeros[n - count] = tangent
        return results, _tangent.bind(
            *primals[:count], *zeros, present=present, levels=levels, **params
        )
    return results, jax.jvp(plain, points, along)[1]


ad.primitive_jvps[_tangent] = _differentiated
