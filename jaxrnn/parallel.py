"""Spreads a batch over many devices: a mesh, what goes where, and the mean of gradients.

The batch is split over the axis "data" of a mesh and the weights are on every device. What moves
the numbers is a choice, and the results do not depend on it:

    jit         sharded inputs; the compiler inserts the sums             axis_name=None
    shard_map   each device runs the function on its shard of the batch   axis_name="data"
    pmap        the same, with the devices as a leading axis              axis_name="data"
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool

AXIS = "data"


def mesh(devices: int | None = None) -> Mesh:
    """Put the first `devices` devices (all of them when not given) in a row, with the axis "data".

    Its axes are Auto, so that `jit` works as it does without a mesh (`jax.make_mesh` alone makes
    Explicit ones). With several processes every one of them gives as many of its own.

    Raises:
        ValueError: more devices than there are, none, or not as many of each process.

    >>> mesh(1).shape["data"]
    1
    """
    all_devices = jax.devices()
    wanted = len(all_devices) if devices is None else devices
    if not 1 <= wanted <= len(all_devices):
        raise ValueError(
            f"{wanted} devices are asked for; there are {len(all_devices)} "
            f"({all_devices[0].platform}). More are simulated on a CPU where XLA_FLAGS holds "
            f"--xla_force_host_platform_device_count={max(wanted, 1)}"
        )
    processes = jax.process_count()
    if wanted % processes:
        raise ValueError(
            f"{wanted} devices are asked for; {processes} processes need a multiple of {processes}"
        )
    chosen: list[Any] = []
    for process in range(processes):
        own = [device for device in all_devices if device.process_index == process]
        chosen += own[: wanted // processes]
    if len(chosen) < wanted:
        raise ValueError(
            f"{wanted} devices are asked for, {wanted // processes} of each process; "
            "one of them has fewer"
        )
    return jax.make_mesh((wanted,), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def shard(tree: Any, mesh: Mesh) -> Any:
    """Split every array [B, ...] over the devices by its rows.

    With several processes each is given the whole batch and keeps its own rows.

    Raises:
        ValueError: a batch that the devices do not divide.

    >>> shard(jnp.ones((8, 3)), mesh(1)).shape
    (8, 3)
    """
    devices = mesh.size
    for leaf in jax.tree.leaves(tree):
        rows = jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0
        if not jnp.ndim(leaf) or rows % devices:
            raise ValueError(
                f"a batch of {rows} does not split over {devices} devices; "
                f"give a multiple of {devices}"
            )
    return _put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Put every array on every device, whole; what is there already is not moved.

    >>> replicate({"w": jnp.ones(3)}, mesh(1))["w"].sharding.is_fully_replicated
    True
    """
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def mean_value_and_grad(
    loss: Callable[..., Any],
    axis_name: str | None = None,
    *,
    weight: Callable[..., Any] | None = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """`jax.value_and_grad` of the mean of `loss` over all shards of the batch.

    With L_s a shard's loss, W_s its weight and p the first argument,

        value = sum_s W_s L_s / sum_s W_s,    gradient = d value / d p

    the same numbers on every device, under `pmap` and in `shard_map`, checked or not. By hand it is
    easily wrong: `pmean(grad(loss))` is right under `pmap` and N times too large in a checked
    `shard_map`, where the gradient by a replicated argument is summed already;
    `grad(pmean(loss))` is the reverse.

    Args:
        loss: `(params, *args) -> value`, a mean over the rows that it is given.
        axis_name: the axis that the batch is split over; None outside `pmap` and `shard_map`,
            where `loss` sees the whole batch.
        weight: `(params, *args) -> W_s`; needed where shards count differently, as the last,
            filled batch of an epoch does. All alike when not given.
        has_aux: `loss` gives `(value, aux)`; aux comes back as each device has it.

    Returns:
        A function of the same arguments that gives `(value, gradient)`, or, with `has_aux`,
        `((value, aux), gradient)`.

    >>> value, gradient = mean_value_and_grad(lambda w, x: jnp.mean(w * x))(2.0, jnp.arange(4.0))
    >>> float(value), float(gradient)
    (3.0, 1.5)
    """
    local = jax.value_and_grad(loss, has_aux=has_aux)
    if axis_name is None:
        return local

    def over_shards(params: Any, *args: Any) -> Any:
        # Each device's own copy, as far as differentiation knows: else it would sum by itself.
        params = jax.tree.map(lambda leaf: _varying(leaf, axis_name), params)
        value, gradient = local(params, *args)
        own = jnp.ones(()) if weight is None else jnp.asarray(weight(params, *args))
        whole = total(_varying(own, axis_name), axis_name)
        # Of no weight at all, the gradient is zero, as of an empty sum.
        share = own / jnp.where(whole == 0, 1, whole)

        def mean(tree: Any) -> Any:
            return jax.tree.map(lambda a: total(a * share.astype(a.dtype), axis_name), tree)

        if has_aux:
            return (mean(value[0]), value[1]), mean(gradient)
        return mean(value), mean(gradient)

    return over_shards


def total(tree: Any, axis_name: str | None) -> Any:
    """Sum over all shards; the tree itself where there are none (`axis_name` is None).

    >>> total(3.0, None)
    3.0
    """
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def bernoulli(
    key: Array,
    p: float,
    shape: tuple[int, ...],
    axis_name: str | None = None,
    *,
    batch_axis: int = 0,
) -> Bool[Array, "..."]:
    """Draw this shard's part of what `jax.random.bernoulli` draws for the whole batch.

    This makes dropout the same, bit for bit, on one device and on many. Devices that drew for
    their own rows with one key would all have the same masks; with keys of their own they would
    have other masks than one device has.

    Args:
        key: the same on all devices.
        p: probability of True.
        shape: of this shard's part.
        axis_name: as for `mean_value_and_grad`.
        batch_axis: which axis of `shape` is split.

    >>> bernoulli(jax.random.key(0), 0.5, (4, 2)).shape
    (4, 2)
    """
    if axis_name is None:
        return jax.random.bernoulli(key, p, shape)
    rows = shape[batch_axis]
    whole = list(shape)
    whole[batch_axis] = rows * jax.lax.axis_size(axis_name)
    whole_mask = jax.random.bernoulli(key, p, tuple(whole))
    first = jax.lax.axis_index(axis_name) * rows
    return jax.lax.dynamic_slice_in_dim(whole_mask, first, rows, batch_axis)


def _put(tree: Any, sharding: NamedSharding) -> Any:
    def put(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        # `device_put` would compare the whole array between the processes first.
        return jax.make_array_from_callback(jnp.shape(leaf), sharding, lambda at: leaf[at])

    return jax.tree.map(put, tree)


def _varying(leaf: Any, axis_name: str) -> Any:
    try:
        return jax.lax.pcast(leaf, axis_name, to="varying")
    except ValueError:
        return leaf  # it varies already, which JAX has no public way to ask
