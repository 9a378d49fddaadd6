"""Runs an engine that has a gradient of its own on a mesh of devices."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array

from jaxrnn._cells import AnyState, Params

EXPLICIT = AxisType.Explicit


def each_its_part(
    run: Callable[..., Any],
    batch_major: bool,
    params: Params,
    xs: Array,
    state: AnyState,
    lengths: Array | None,
    resets: Array | None,
) -> tuple[AnyState, Array]:
    """`run(params, xs, state, lengths, resets)`; on an Explicit mesh, every device its own rows.

    There the types say how the batch lies on the devices, and no rule says what a compiled call
    does with them, nor how a weight gradient, a sum over a split batch, is to lie.
    """
    mesh = jax.typeof(xs).sharding.mesh
    explicit = {n for n, t in zip(mesh.axis_names, mesh.axis_types, strict=True) if t is EXPLICIT}
    if not explicit:
        return run(params, xs, state, lengths, resets)
    batch = list(jax.typeof(xs).sharding.spec)
    del batch[-2 if batch_major else 0], batch[-1]
    rows, time = PartitionSpec(*batch), len(batch) if batch_major else 0
    sequence = PartitionSpec(*batch[:time], None, *batch[time:])
    specs = (
        jax.tree.map(lambda _: PartitionSpec(), params),
        PartitionSpec(*sequence, None),
        jax.tree.map(lambda _: PartitionSpec(*rows, None), state),
        None if lengths is None else rows,
        None if resets is None else sequence,
    )
    args = jax.tree.map(jax.sharding.reshard, (params, xs, state, lengths, resets), specs)
    on_each = jax.shard_map(
        run, mesh=mesh, axis_names=explicit, in_specs=specs, out_specs=(specs[2], specs[1])
    )
    return on_each(*args)


def varying_alike(tree: Any) -> Any:
    """Every array varies over the mesh axes that any of them varies over.

    Used outside the custom gradient, so that JAX sums the gradients of what was the same on all
    devices.
    """
    axes = frozenset().union(*[jax.typeof(a).mat.varying for a in jax.tree.leaves(tree)])

    def vary(a: Any) -> Any:
        missing = tuple(axes - jax.typeof(a).mat.varying)
        return jax.lax.pcast(a, missing, to="varying") if missing else a

    return jax.tree.map(vary, tree)
