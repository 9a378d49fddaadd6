"""Parameters are Flax's: names, shapes, dtypes, fresh values; and so is what Adam makes of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tables import assert_close, random_xs

from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

CELLS = ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")
every_class = pytest.mark.parametrize("name", CELLS)
LENGTHS = np.array([7, 2, 1, 6, 3, 7])


def nnx_rnn(library, name, **options):
    return library.RNN(getattr(library, name)(5, 4, rngs=nnx.Rngs(0), **options))


def linen_rnn(library, name, **options):
    return library.RNN(getattr(library, name)(4, **options))


@every_class
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_fresh_parameters_are_flaxs_in_nnx(name, dtype):
    """Bit for bit from the same keys, but for the matrices in which Flax's gates share a draw."""
    # In 16 bits Flax itself draws no orthogonal matrix, but for its LSTMCell.
    theirs = nnx_rnn(nnx, name, param_dtype=dtype, **(
        {} if dtype == jnp.float32 else {"recurrent_kernel_init": nnx.initializers.normal()}
    ))  # fmt: skip
    ours = nnx_rnn(our_nnx, name, param_dtype=dtype)
    flat, expected = [dict(nnx.to_flat_state(nnx.state(m))) for m in (ours, theirs)]
    assert list(flat) == list(expected)
    drawn_by_gate = [("cell", "dense_h", "kernel")] if name in CELLS[2:] else []
    for path, variable in expected.items():
        assert type(flat[path]) is type(variable), path
        assert (flat[path].shape, flat[path].dtype) == (variable.shape, variable.dtype), path
        in_16_bits = dtype != jnp.float32 and path[1].startswith(("h", "dense_h"))
        if path not in drawn_by_gate and not (in_16_bits and path[2] == "kernel"):
            assert bool((flat[path][...] == variable[...]).all()), path


@every_class
@pytest.mark.parametrize("jitted", [False, True])
def test_fresh_parameters_are_flaxs_in_linen(name, jitted):
    trees = []
    for library in (our_linen, nn):
        init = linen_rnn(library, name).init
        trees.append((jax.jit(init) if jitted else init)(jax.random.key(0), random_xs()))
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    jax.tree.map(np.testing.assert_array_equal, *trees)


@every_class
def test_a_state_of_flaxs_loads_into_nnx(name):
    """With the generators, which a checkpoint of a whole module holds; and the other way round."""
    theirs, ours = nnx_rnn(nnx, name), nnx_rnn(our_nnx, name)
    state = jax.tree.map(jnp.copy, nnx.state(theirs))
    nnx.update(ours, state)
    assert_close(ours(random_xs()), theirs(random_xs()))
    other = nnx_rnn(nnx, name)
    nnx.update(other, nnx.state(ours))
    assert_close(other(random_xs()), ours(random_xs()))
    graph, _ = nnx.split(ours)
    assert_close(nnx.merge(graph, state)(random_xs()), theirs(random_xs()))


def mean(hs):
    """The mean of the valid outputs."""
    return jnp.where(jnp.arange(7)[:, None] < LENGTHS[:, None, None], hs, 0).sum(1) / 7


def nnx_program(library, name):
    """A model as a function of its parameters, and the parameters of Flax's."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = library.RNN(getattr(library, name)(5, 8, rngs=rngs))
            self.readout = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, xs):
            return self.readout(mean(self.rnn(xs, seq_lengths=LENGTHS)))

    graph, params, rest = nnx.split(Model(nnx.Rngs(0)), nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    return params, lambda params, xs: nnx.merge(
        graph, nnx.State(params), jax.tree.map(jnp.copy, rest)
    )(xs)


def linen_program(library, name):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs):
            hs = library.RNN(getattr(library, name)(8))(xs, seq_lengths=LENGTHS)
            return nn.Dense(1)(mean(hs))

    return Model().init(jax.random.key(0), random_xs()), Model().apply


@every_class
@pytest.mark.parametrize("program", [nnx_program, linen_program])
def test_a_hundred_steps_of_adam_with_clipping_give_flaxs_parameters(name, program):
    start, theirs = program({nnx_program: nnx, linen_program: nn}[program], name)
    _, ours = program({nnx_program: our_nnx, linen_program: our_linen}[program], name)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))
    xs, wanted = random_xs(), jnp.asarray([1.0, 0, 0, 1, 0, 1])

    def trained(run):
        def step(carry, _):
            params, memory = carry
            gradient = jax.grad(lambda p: jnp.mean((run(p, xs)[:, 0] - wanted) ** 2))(params)
            updates, memory = optimizer.update(gradient, memory, params)
            return (optax.apply_updates(params, updates), memory), optax.tree.norm(gradient)

        start_of_both = (start, optimizer.init(start))
        (params, _), norms = jax.jit(lambda c: jax.lax.scan(step, c, length=100))(start_of_both)
        return params, norms

    (actual, norms), (expected, _) = trained(ours), trained(theirs)
    assert float(norms.max()) > 0.5, "nothing was clipped"
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), expected, start)
    assert min(jax.tree.leaves(moved)) > 1e-3
    assert_close(actual, expected, 1e-5)
