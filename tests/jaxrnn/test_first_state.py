"""The state before the first step: placed and varying as the inputs, in every transform."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tables import (
    all_cells,
    assert_close,
    every_row_once,
    random_params,
    random_state,
    random_xs,
)

import jaxrnn
from jaxrnn import parallel

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SPLIT, WHOLE = PartitionSpec("data"), PartitionSpec()


def by_steps(cell, params, xs):
    """`unroll` as a user writes it: a `lax.scan` of `step` over xs [B, T, D]."""
    xs = jnp.moveaxis(xs, 1, 0)
    start = jaxrnn.initial_state(cell, params, like=xs[0])
    end, hs = jax.lax.scan(lambda state, x: jaxrnn.step(cell, params, state, x), start, xs)
    return end, jnp.moveaxis(hs, 0, 1)


def gradient(cell, run):
    def loss(params, xs):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(cell, params, xs)))

    return jax.value_and_grad(loss, argnums=(0, 1))


@all_cells
def test_a_scan_of_steps_inside_shard_map(cell):
    """Checked, as is the default; values and gradients."""
    params, xs = random_params(cell), random_xs(batch=(8,))
    run = jax.shard_map(
        lambda params, xs: by_steps(cell, params, xs), mesh=parallel.mesh(8),
        in_specs=(WHOLE, SPLIT), out_specs=SPLIT,
    )  # fmt: skip
    assert_close(jax.jit(run)(params, xs), jaxrnn.unroll(cell, params, xs))
    actual = jax.jit(gradient(cell, lambda cell, *args: run(*args)))(params, xs)
    assert_close(actual, gradient(cell, jaxrnn.unroll)(params, xs), 1e-5)


@all_cells
def test_a_scan_of_steps_where_the_weights_vary_too(cell):
    """An ensemble over one axis of the mesh, the batch over the other."""
    mesh = jax.make_mesh((2, 4), ("member", "data"), axis_types=(AxisType.Auto,) * 2)
    members = [random_params(cell, seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    xs = random_xs(batch=(8,))

    def one(params, xs):
        params = jax.tree.map(lambda leaf: leaf[0], params)
        return jax.tree.map(lambda leaf: leaf[None], by_steps(cell, params, xs))

    run = jax.shard_map(
        one, mesh=mesh, in_specs=(PartitionSpec("member"), PartitionSpec("data")),
        out_specs=PartitionSpec("member", "data"),
    )  # fmt: skip
    actual = jax.jit(run)(stacked, xs)
    for n, params in enumerate(members):
        expected = jaxrnn.unroll(cell, params, xs)
        assert_close(jax.tree.map(lambda leaf, n=n: leaf[n], actual), expected)


@all_cells
@pytest.mark.parametrize("axis_type", [AxisType.Explicit, AxisType.Auto])
def test_a_scan_of_steps_on_a_mesh(cell, axis_type):
    params, xs = random_params(cell), random_xs(batch=(8,))
    expected = gradient(cell, jaxrnn.unroll)(params, xs)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, WHOLE), jax.device_put(xs, SPLIT)
        actual = jax.jit(gradient(cell, by_steps))(*placed)
        end, hs = jax.jit(lambda *args: by_steps(cell, *args))(*placed)
        assert {leaf.sharding.spec[0] for leaf in (*end, hs)} == {"data"}
    assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize("transform", ["vmap", "pmap", "unchecked"])
def test_a_scan_of_steps_in_the_other_transforms(transform):
    cell, xs = jaxrnn.LSTM, random_xs(batch=(8,))
    params = random_params(cell)

    def run(xs):
        return by_steps(cell, params, xs)

    if transform == "unchecked":
        mapped = jax.shard_map(
            run, mesh=parallel.mesh(8), in_specs=SPLIT, out_specs=SPLIT, check_vma=False
        )
        actual = jax.jit(mapped)(xs)
    else:
        mapped = jax.vmap(run) if transform == "vmap" else jax.pmap(run)
        actual = jax.tree.map(lambda leaf: leaf[:, 0], mapped(xs[:, None]))
    assert_close(actual, jaxrnn.unroll(cell, params, xs))


@every_row_once
def test_a_given_state_of_zeros_inside_shard_map(cell, engine):
    """Which does not vary, where inputs and lengths do."""
    params, xs, lengths = random_params(cell), random_xs(batch=(8,)), jnp.arange(8) % 8

    def run(params, xs, lengths):
        start = cell.state(*[jnp.zeros((1, 4)) for _ in cell.state._fields])
        return jaxrnn.unroll(cell, params, xs, start, lengths=lengths, engine=engine)

    mapped = jax.shard_map(
        run, mesh=parallel.mesh(8), in_specs=(WHOLE, SPLIT, SPLIT), out_specs=SPLIT
    )
    actual = jax.jit(mapped)(params, xs, lengths)
    assert_close(actual, jaxrnn.unroll(cell, params, xs, lengths=lengths))


@pytest.mark.parametrize("axis_type", [AxisType.Explicit, AxisType.Auto])
def test_outside_of_programs_it_lies_where_the_inputs_lie(axis_type):
    cell, xs = jaxrnn.LSTM, random_xs(batch=(2, 4))
    params = random_params(cell)
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(axis_type,) * 2)
    placed = jax.device_put(xs, NamedSharding(mesh, PartitionSpec("a", "b")))
    for batch in (None, (2, 4)):
        state = jaxrnn.initial_state(cell, params, batch, like=placed[:, :, 0])
        for leaf in state:
            assert leaf.sharding.is_equivalent_to(
                NamedSharding(mesh, PartitionSpec("a", "b", None)), 3
            )
            np.testing.assert_array_equal(leaf, np.zeros((2, 4, 4)))
    other = jax.devices()[3]
    state = jaxrnn.initial_state(cell, params, like=jax.device_put(xs, other))
    assert {leaf.device for leaf in state} == {other}
    assert not jaxrnn.initial_state(cell, params, like=xs).h.committed


def test_its_shape_is_the_batch_of_like():
    cell, xs = jaxrnn.LSTM, np.full((2, 3, 7, 5), np.nan)
    params = random_params(cell)
    assert jaxrnn.initial_state(cell, params, (2, 3), like=xs).h.shape == (2, 3, 4)
    assert jaxrnn.initial_state(cell, params, like=xs[:, :, 0]).c.shape == (2, 3, 4)
    assert jaxrnn.initial_state(cell, params, like=xs[0, 0, 0]).h.shape == (4,)
    assert jaxrnn.initial_state(cell, params).h.shape == (4,)
    with pytest.raises(ValueError, match=r"like has shape \(2, 3, 7, 5\); batch_shape \(3,\)"):
        jaxrnn.initial_state(cell, params, (3,), like=xs)


# --- dtypes ----------------------------------------------------------------------------------


@all_cells
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_a_state_of_another_dtype_is_cast_as_in_unroll(cell, dtype):
    """To float32, the dtype of gates: also the memory c, which no product casts."""
    with jax.enable_x64(True):
        params, xs = random_params(cell), random_xs(steps=1)
        state = random_state(cell, dtype=dtype)
        end, h = jaxrnn.step(cell, params, state, xs[:, 0])
        expected, hs = jaxrnn.unroll(cell, params, xs, state, engine=jaxrnn.engines.scan)
        assert {str(leaf.dtype) for leaf in (*end, h)} == {"float32"}
        assert_close((end, h), (expected, hs[:, 0]))


# --- NaN in the padding ------------------------------------------------------------------------


@every_row_once
@pytest.mark.parametrize("given", [False, True], ids=["", "state"])
def test_debug_nans_accepts_nan_in_the_padding(cell, engine, given):
    """JAX then raises at every NaN that a computation gives out; ours gives none."""
    lengths = np.array([7, 0, 1, 6, 3, 7])
    valid = np.arange(7)[None, :, None] < lengths[:, None, None]
    params, xs = random_params(cell), random_xs()
    padded = np.where(valid, xs, np.float32("nan"))
    state = random_state(cell) if given else None

    def loss(params, xs):
        end, hs = jaxrnn.unroll(cell, params, xs, state, lengths=lengths, engine=engine)
        return sum(jnp.sum(leaf) for leaf in (*end, hs))

    run = jax.value_and_grad(loss, argnums=(0, 1))
    expected = run(params, jnp.where(valid, xs, 0))
    outputs = functools.partial(jaxrnn.unroll, cell, params, lengths=lengths, engine=engine)
    answer = outputs(xs, state)
    with jax.debug_nans(True):
        assert_close(outputs(padded, state), answer)
        assert_close(outputs(jax.device_put(padded), state), answer)
        assert_close(run(params, padded), expected)
        assert_close(jax.jit(run)(params, padded), expected)
        with pytest.raises(FloatingPointError):
            outputs(np.where(valid, np.float32("nan"), xs), state)  # and says so of what counts
