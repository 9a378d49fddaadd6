"""Makes states of zeros that lie on the devices, and vary over a mesh, as given arrays do.

Inside `shard_map` and on Explicit meshes the carry of a loop must have the type that its body
returns, and plain `jnp.zeros` does not.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxrnn._types import AnyState, Cell, Params, accumulation_dtype


def zero_state(
    cell: Cell, params: Params, batch: tuple[Any, ...], like: Any = None, axes: Sequence[int] = ()
) -> AnyState:
    """Zeros [*batch, H] in every field, each an array of its own.

    Args:
        cell: which state.
        params: the layer's weights; the state varies over the mesh axes that they vary over.
        batch: the sizes of the batch axes; an int, or a symbol of `jax.export`.
        like: an array; the state is placed and varies as it does.
        axes: where in `like` the batch axes stand.
    """
    units, dtype = params.wh.shape[0], accumulation_dtype(params.wh.dtype)
    placement = {} if like is None else _placement(like, axes)
    zeros = [jnp.zeros((*batch, units), dtype, **placement) for _ in cell.state._fields]
    return varying_as(cell.state(*zeros), (params, like))


def varying_as(tree: Any, others: Any) -> Any:
    """The same arrays, varying also over every mesh axis that one of `others` varies over.

    It costs nothing: only inside a checked `shard_map` has an array such axes, and there only its
    type changes.
    """
    axes = frozenset().union(*[_varying(leaf) for leaf in jax.tree.leaves(others)])

    def vary(leaf: Any) -> Any:
        missing = tuple(sorted(axes - _varying(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def _varying(leaf: Any) -> frozenset[Any]:
    return jax.typeof(leaf).mat.varying if isinstance(leaf, jax.core.Tracer) else frozenset()


def _placement(like: Any, axes: Sequence[int]) -> dict[str, Any]:
    """What `jnp.zeros` is told, so that its batch axes lie as `axes` of `like` do."""
    if isinstance(like, jax.core.Tracer):
        sharding = jax.typeof(like).sharding
        if AxisType.Explicit not in sharding.mesh.axis_types:
            return {}  # where an array lies is the compiler's to choose
        return {"out_sharding": _of_batch(sharding, axes)}
    if not getattr(like, "committed", False):
        return {}
    if isinstance(like.sharding, NamedSharding):
        return {"device": _of_batch(like.sharding, axes)}
    return {"device": like.sharding} if isinstance(like.sharding, SingleDeviceSharding) else {}


def _of_batch(sharding: Any, axes: Sequence[int]) -> NamedSharding:
    spec = [*sharding.spec, *[None] * max(axes, default=0)]  # a spec may be shorter than the rank
    return NamedSharding(sharding.mesh, PartitionSpec(*[spec[axis] for axis in axes], None))
