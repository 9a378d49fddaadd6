"""Many devices compute what one does: gradients, masks and placement, on eight simulated ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from tables import assert_close, every_row_once, random_params, random_xs

import jaxrnn
from jaxrnn import parallel

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SPLIT, WHOLE = PartitionSpec("data"), PartitionSpec()
LENGTHS = jnp.asarray(np.random.default_rng(3).integers(0, 8, 16), jnp.int32)
# Rows that count differently on every device; the last two devices of eight have none at all.
WEIGHTS = jnp.asarray([1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0], jnp.float32)


def explicit(devices):
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Explicit,))


def under_pmap(run, devices):
    """Rows as [devices, rows of each, ...]; the weights whole, as `in_axes=None` gives them."""
    mapped = jax.pmap(
        functools.partial(run, axis_name="data"), axis_name="data", in_axes=(None, 0),
        out_axes=None, devices=jax.devices()[:devices],
    )  # fmt: skip
    cut = lambda a: a.reshape(devices, -1, *a.shape[1:])  # noqa: E731
    return lambda params, batch: mapped(params, jax.tree.map(cut, batch))


def under_old_pmap(run, devices):
    """Weights stacked once for every device, as pmap code of old has them."""
    mapped = jax.pmap(
        functools.partial(run, axis_name="data"), axis_name="data",
        devices=jax.devices()[:devices],
    )  # fmt: skip

    def stacked(params, batch):
        params = jax.tree.map(lambda a: jnp.stack([a] * devices), params)
        cut = jax.tree.map(lambda a: a.reshape(devices, -1, *a.shape[1:]), batch)
        out = jax.tree.map(np.asarray, mapped(params, cut))
        for leaf in jax.tree.leaves(out):
            np.testing.assert_array_equal(leaf, np.stack([leaf[0]] * devices))
        return jax.tree.map(lambda a: a[0], out)

    return stacked


def under_shard_map(run, devices, check_vma):
    return jax.jit(
        jax.shard_map(
            functools.partial(run, axis_name="data"), mesh=parallel.mesh(devices),
            in_specs=(WHOLE, SPLIT), out_specs=WHOLE, check_vma=check_vma,
        )
    )  # fmt: skip


def under_jit(run, devices):
    where = parallel.mesh(devices)
    return lambda params, batch: jax.jit(functools.partial(run, axis_name=None))(
        parallel.replicate(params, where), parallel.shard(batch, where)
    )


def on_explicit_mesh(run, devices):
    def placed(params, batch):
        with jax.set_mesh(explicit(devices)):
            params, batch = jax.device_put(params, WHOLE), jax.device_put(batch, SPLIT)
            return jax.jit(functools.partial(run, axis_name=None))(params, batch)

    return placed


WAYS = {
    "pmap": under_pmap,
    "old-pmap": under_old_pmap,
    "shard_map": functools.partial(under_shard_map, check_vma=True),
    "shard_map-unchecked": functools.partial(under_shard_map, check_vma=False),
    "jit": under_jit,
    "explicit-mesh": on_explicit_mesh,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@pytest.mark.pairs
@every_row_once
@every_way
def test_the_gradient_mean_is_that_of_one_device(cell, engine, way):
    def loss(params, batch):
        state, hs = jaxrnn.unroll(cell, params, batch["xs"], lengths=batch["n"], engine=engine)
        values = jnp.sum(jnp.sin(hs), axis=(1, 2)) + jnp.sum(state.h, axis=1)
        weight = jnp.maximum(jnp.sum(batch["w"]), 1)
        return jnp.sum(values * batch["w"]) / weight, values

    def run(params, batch, axis_name):
        step = parallel.mean_value_and_grad(
            loss, axis_name, has_aux=True, weight=lambda params, batch: jnp.sum(batch["w"])
        )
        (value, aux), gradient = step(params, batch)
        return value, gradient, parallel.total(jnp.sum(aux), axis_name)

    params = random_params(cell)
    batch = {"xs": random_xs(batch=(16,)), "n": LENGTHS, "w": WEIGHTS}
    (value, aux), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, batch)
    # Means of 16 rows, each a sum of some 30 sines: float32 in another order.
    assert_close(way(run, 8)(params, batch), (value, gradient, jnp.sum(aux)), 1e-5)


@every_way
@pytest.mark.parametrize("devices", [1, 2, 8])
def test_without_aux_and_weights_it_is_value_and_grad(way, devices):
    def loss(w, batch):
        return jnp.mean(jnp.sin(batch @ w))

    def run(w, batch, axis_name):
        return parallel.mean_value_and_grad(loss, axis_name)(w, batch)

    w, batch = jnp.arange(5.0), random_xs(batch=(), steps=16)
    assert_close(way(run, devices)(w, batch), jax.value_and_grad(loss)(w, batch))


def test_params_that_vary_over_the_mesh_are_taken_as_each_device_has_them():
    """One `w` of its own for each device: the mean is of each device's gradient by its own."""

    def run(w, x):
        return parallel.mean_value_and_grad(lambda w, x: jnp.mean(w * x), "data")(w[0], x)

    mapped = jax.shard_map(run, mesh=parallel.mesh(2), in_specs=SPLIT, out_specs=WHOLE)
    value, gradient = mapped(jnp.array([2.0, 3.0]), jnp.array([1.0, 5.0]))
    assert (float(value), float(gradient)) == (8.5, 3.0)


def test_of_no_weight_at_all_the_gradient_is_zero():
    mean = parallel.mean_value_and_grad(
        lambda w, x: jnp.sum(w * x), "data", weight=lambda w, x: jnp.sum(x)
    )
    mapped = jax.shard_map(mean, mesh=parallel.mesh(2), in_specs=(WHOLE, SPLIT), out_specs=WHOLE)
    assert jax.tree.map(float, mapped(jnp.float32(3), jnp.zeros(4))) == (0.0, 0.0)


@every_way
@pytest.mark.parametrize("devices", [2, 8])
def test_masks_are_those_of_the_whole_batch_bit_for_bit(way, devices):
    key, expected = jax.random.key(3), jax.random.bernoulli(jax.random.key(3), 0.7, (16, 5))
    assert len({row.tobytes() for row in np.asarray(expected)}) > 8

    def run(key, batch, axis_name):
        mine = parallel.bernoulli(key, 0.7, batch.shape, axis_name)
        # Each device puts its rows into their place, and all are added.
        at = 0 if axis_name is None else jax.lax.axis_index(axis_name) * len(batch)
        whole = jnp.zeros((16, 5), jnp.int32)
        if axis_name is not None:
            whole = jax.lax.pcast(whole, axis_name, to="varying")
        whole = jax.lax.dynamic_update_slice_in_dim(whole, mine.astype(jnp.int32), at, 0)
        return parallel.total(whole, axis_name)

    np.testing.assert_array_equal(way(run, devices)(key, jnp.zeros((16, 5))), expected)


@pytest.mark.pairs
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_between_layers_is_that_of_the_whole_batch(time_major, bidirectional):
    params = jaxrnn.init_stack(jax.random.key(0), jaxrnn.GRU, 5, 4, 3, bidirectional)
    xs = random_xs(batch=(16,))
    xs, split = (jnp.moveaxis(xs, 1, 0), PartitionSpec(None, "data")) if time_major else (xs, SPLIT)
    run = functools.partial(jaxrnn.unroll_stack, jaxrnn.GRU, dropout=0.4, time_major=time_major)
    on_eight = jax.jit(
        jax.shard_map(
            lambda params, xs, key: run(params, xs, key=key, axis_name="data")[1],
            mesh=parallel.mesh(8),
            in_specs=(WHOLE, split, WHOLE),
            out_specs=split,
        )
    )
    key = jax.random.key(7)
    assert_close(on_eight(params, xs, key), run(params, xs, key=key)[1])


def test_arrays_are_where_they_should_be():
    where = parallel.mesh(4)
    batch, params = np.arange(24).reshape(8, 3), {"w": np.arange(3)}
    split = parallel.shard({"a": batch, "b": batch[:, 0]}, where)
    for n, piece in enumerate(sorted(split["a"].addressable_shards, key=lambda p: p.device.id)):
        np.testing.assert_array_equal(piece.data, batch[2 * n : 2 * n + 2])
    whole = parallel.replicate(params, where)
    assert len(whole["w"].addressable_shards) == 4
    assert all(piece.data.shape == (3,) for piece in whole["w"].addressable_shards)
    assert parallel.replicate(whole, where)["w"] is whole["w"]
    assert parallel.mesh().size == 8
    assert set(where.axis_types) == {AxisType.Auto}


def test_what_cannot_be_placed_is_named():
    with pytest.raises(ValueError, match=r"9 devices are asked for; there are 8 \(cpu\).*count=9"):
        parallel.mesh(9)
    with pytest.raises(ValueError, match="0 devices are asked for; there are 8"):
        parallel.mesh(0)
    with pytest.raises(ValueError, match="a batch of 6 does not split over 4 devices"):
        parallel.shard(np.zeros((6, 2)), parallel.mesh(4))
    params = jaxrnn.init_stack(jax.random.key(0), jaxrnn.GRU, 5, 4, 2)
    run = functools.partial(jaxrnn.unroll_stack, jaxrnn.GRU, params, random_xs(batch=()))
    with pytest.raises(ValueError, match="dropout inside axis 'data' needs a batch axis"):
        run(dropout=0.5, key=jax.random.key(0), axis_name="data")
