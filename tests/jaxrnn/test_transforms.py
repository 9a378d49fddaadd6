"""Every transform of JAX gives what eager evaluation gives: cells x engines x transforms."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, PartitionSpec
from tables import ENGINES, assert_close, random_params, random_xs
from tables import ROWS as PAIRS

import jaxrnn
from jaxrnn import parallel

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
RESETS = np.random.default_rng(4).random((6, 7)) < 0.3
SPLIT, WHOLE = PartitionSpec("data"), PartitionSpec()


def make_loss(cell, engine):
    """Everything that `unroll` gives, summed: ragged, forwards, and in reverse with resets."""

    def loss(params, xs, lengths, resets):
        run = functools.partial(jaxrnn.unroll, cell, params, xs, lengths=lengths, engine=engine)
        results = run(), run(resets=resets, reverse=True)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results))

    return loss


def arguments(cell, dtype="float32"):
    params, xs = random_params(cell, dtype=dtype), random_xs(dtype=dtype)
    return params, xs, jnp.asarray(LENGTHS), jnp.asarray(RESETS)


@functools.cache
def reference(name):
    """Value and gradient, operation by operation, through the scan engine."""
    cell = jaxrnn.CELLS[name]
    with jax.disable_jit():
        return jax.value_and_grad(make_loss(cell, ENGINES["scan"]))(*arguments(cell))


def summed(each):
    return jax.tree.map(lambda leaf: jnp.sum(leaf, 0), each)


# Each takes the loss, and gives a function of its arguments that gives its value and gradient. ---


def grad(loss):
    return lambda *args: (loss(*args), jax.grad(loss)(*args))


def vmap_over_batch(loss):
    def one(params, *row):
        return loss(params, *[leaf[None] for leaf in row])

    each = jax.jit(jax.vmap(jax.value_and_grad(one), in_axes=(None, 0, 0, 0)))
    return lambda *args: summed(each(*args))


def vmap_over_parameters(loss):
    """An ensemble of three, the middle one of which is asked for."""

    def run(params, *rest):
        ensemble = jax.tree.map(lambda leaf: jnp.stack([0 * leaf, leaf, -leaf]), params)
        each = jax.vmap(jax.value_and_grad(loss), in_axes=(0, None, None, None))
        return jax.tree.map(lambda leaf: leaf[1], each(ensemble, *rest))

    return jax.jit(run)


def scan_over_steps(loss):
    """Two rows a step, value and gradient added up in the carry."""

    def run(params, *batch):
        def body(carry, rows):
            return jax.tree.map(jnp.add, carry, jax.value_and_grad(loss)(params, *rows)), None

        steps = jax.tree.map(lambda leaf: leaf.reshape(3, 2, *leaf.shape[1:]), batch)
        zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
        return jax.lax.scan(body, zeros, steps)[0]

    return jax.jit(run)


def jvp(loss):
    """The gradient put together from one derivative in each direction, a bias's only."""

    def run(params, *rest):
        value, gradient = jax.jit(jax.value_and_grad(loss))(params, *rest)

        def of_bias(bx):
            return loss(params._replace(bx=bx), *rest)

        along = jax.jit(lambda direction: jax.jvp(of_bias, (params.bx,), (direction,)))
        columns = [along(direction) for direction in jnp.eye(len(params.bx))]
        for primal, _ in columns:
            assert_close(primal, value, 1e-5)
        return value, gradient._replace(bx=jnp.stack([tangent for _, tangent in columns]))

    return run


def jacfwd(loss):
    return jax.jit(lambda *args: (loss(*args), jax.jacfwd(loss)(*args)))


def pmap(loss):
    def run(params, *batch):
        halves = [leaf.reshape(2, 3, *leaf.shape[1:]) for leaf in batch]
        each = jax.pmap(jax.value_and_grad(loss), in_axes=(None, 0, 0, 0))
        return summed(each(params, *halves))

    return run


def shard_map(loss, check_vma):
    total = jax.shard_map(
        lambda *args: jax.lax.psum(loss(*args), "data"), mesh=parallel.mesh(2),
        in_specs=(WHOLE, SPLIT, SPLIT, SPLIT), out_specs=WHOLE, check_vma=check_vma,
    )  # fmt: skip
    return jax.jit(jax.value_and_grad(total))


def on_mesh(loss, axis_type):
    def run(params, *batch):
        with jax.set_mesh(jax.make_mesh((2,), ("data",), axis_types=(axis_type,))):
            params, batch = jax.device_put(params, WHOLE), jax.device_put(batch, SPLIT)
            return jax.jit(jax.value_and_grad(loss))(params, *batch)

    return run


def exported(loss):
    """With symbolic batch and time, as bytes and back."""

    def run(params, xs, lengths, resets):
        batch, time = export.symbolic_shape("batch, time")
        shapes = [(batch, time, 5), (batch,), (batch, time)]
        forms = (
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params),
            *[
                jax.ShapeDtypeStruct(shape, leaf.dtype)
                for shape, leaf in zip(shapes, (xs, lengths, resets), strict=True)
            ],
        )

        def flat(leaves, *rest):
            value, gradient = jax.value_and_grad(loss)(jaxrnn.Params(*leaves), *rest)
            return value, tuple(gradient)

        program = export.export(jax.jit(flat))(tuple(forms[0]), *forms[1:]).serialize()
        again = export.deserialize(program)
        value, gradient = again.call(tuple(params), xs, lengths, resets)
        return value, jaxrnn.Params(*gradient)

    return run


TRANSFORMS = {
    "jit": lambda loss: jax.jit(jax.value_and_grad(loss)),
    "grad": grad,
    "value_and_grad": jax.value_and_grad,
    "vmap-batch": vmap_over_batch,
    "vmap-parameters": vmap_over_parameters,
    "scan": scan_over_steps,
    "checkpoint": lambda loss: jax.jit(jax.value_and_grad(jax.checkpoint(loss))),
    "pmap": pmap,
    "shard_map": functools.partial(shard_map, check_vma=True),
    "shard_map-unchecked": functools.partial(shard_map, check_vma=False),
    "auto-mesh": functools.partial(on_mesh, axis_type=AxisType.Auto),
    "explicit-mesh": functools.partial(on_mesh, axis_type=AxisType.Explicit),
    "export": exported,
    "jvp": jvp,
    "jacfwd": jacfwd,
}
# The call of a compiled kernel is not written down: another machine may lack it.
NOT_OF = {"native": {"export"}}
# One program for all cells: these two go through all of it.
CELLS_OF = {"fused": ("lstm", "gru")}

ROWS = {
    f"{cell}-{engine}-{transform}": (cell, ENGINES[engine], TRANSFORMS[transform])
    for (cell, engine), transform in itertools.product(PAIRS, TRANSFORMS)
    if transform not in NOT_OF.get(engine, ()) and cell in CELLS_OF.get(engine, jaxrnn.CELLS)
}


def deviation(actual, expected):
    """The largest difference, relative where numbers are above 1."""
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    return max(float(np.max(abs(a - b) / np.maximum(abs(b), 1))) for a, b in pairs)


@pytest.mark.pairs
@pytest.mark.parametrize(("cell", "engine", "transform"), ROWS.values(), ids=ROWS.keys())
def test_transform(cell, engine, transform, record_property):
    args = arguments(jaxrnn.CELLS[cell])
    actual = transform(make_loss(jaxrnn.CELLS[cell], engine))(*args)
    record_property("deviation", deviation(actual, reference(cell)))
    # Sums of some 400 sines in another order: float32 rounding of 1e-7 times their size of 10.
    assert_close(actual, reference(cell), 1e-5)


@pytest.mark.pairs
@pytest.mark.parametrize(("cell", "engine"), PAIRS)
@pytest.mark.parametrize("mode", ["forward-over-reverse", "reverse-over-reverse"])
def test_hessian_vector_product(cell, engine, mode, record_property):
    """Equals a difference of two gradients, in float64."""
    with jax.enable_x64(True):
        params, *rest = arguments(jaxrnn.CELLS[cell], "float64")
        along = random_params(jaxrnn.CELLS[cell], seed=9, dtype="float64")
        loss = make_loss(jaxrnn.CELLS[cell], ENGINES[engine])
        gradient = jax.jit(lambda params: jax.grad(loss)(params, *rest))

        def product(params):
            if mode == "forward-over-reverse":
                return jax.jvp(gradient, (params,), (along,))[1]

            def slope(params):
                return sum(
                    jnp.vdot(a, b)
                    for a, b in zip(
                        jax.tree.leaves(gradient(params)), jax.tree.leaves(along), strict=True
                    )
                )

            return jax.jit(jax.grad(slope))(params)

        def moved(by):
            return gradient(jax.tree.map(lambda p, v: p + by * v, params, along))

        expected = jax.tree.map(lambda a, b: (a - b) / 2e-5, moved(1e-5), moved(-1e-5))
        actual = product(params)
        record_property("deviation", deviation(actual, expected))
        # Central differences of step 1e-5: 1e-10 of third derivatives of size up to 1000.
        assert_close(actual, expected, 1e-6)
