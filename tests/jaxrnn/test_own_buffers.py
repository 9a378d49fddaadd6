"""Every array that the library returns is its own: one can be donated and the others live on."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import ENGINES, ROWS, all_cells, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import diagnose, parallel

KEY = jax.random.key(0)
LENGTHS = np.array([7, 0, 1, 6, 3, 7])


def loss(cell, engine):
    return jnp.sum(jaxrnn.unroll(cell, random_params(cell), random_xs(), engine=engine)[1])


def given(cell, batch=(6,)):
    return random_params(cell), random_state(cell, batch=batch), random_xs()


# Of each public function: its answers, and what it was given.
CALLS = {
    "init": lambda cell: (jaxrnn.init(KEY, cell, 5, 4), ()),
    "init_stack": lambda cell: (jaxrnn.init_stack(KEY, cell, 5, 4, 2, bidirectional=True), ()),
    "initial_state": lambda cell: (
        [
            jaxrnn.initial_state(cell, random_params(cell), (6,)),
            jaxrnn.initial_state(cell, random_params(cell)),
            jaxrnn.initial_state(cell, random_params(cell), (6,), like=random_xs()),
        ],
        (),
    ),
    "step": lambda cell: (
        lambda p, s, xs: (jaxrnn.step(cell, p, s, xs[:, 0], reset=xs[:, 0, 0] > 0), (p, s, xs))
    )(*given(cell)),
    "unroll": lambda cell: (
        lambda p, s, xs: (
            [
                jaxrnn.unroll(cell, p, inputs, start, engine=engine)
                for engine in (None, *(ENGINES[e] for c, e in ROWS if c == cell.name))
                for start in (None, s)
                for inputs in (xs, xs[:, :0])
            ],
            (p, s, xs),
        )
    )(*given(cell)),
    "unroll_stack": lambda cell: (
        lambda p, s, xs: (
            [
                jaxrnn.unroll_stack(cell, ((p, p),), inputs, start, lengths=LENGTHS * 0)
                for start in (None, ((s, s),))
                for inputs in (xs, xs[:, :0])
            ],
            (p, s, xs),
        )
    )(*given(cell)),
    "diagnose.state_gradients": lambda cell: (
        diagnose.state_gradients(functools.partial(loss, cell)),
        (),
    ),
    "diagnose.gradient_norms": lambda cell: (
        diagnose.gradient_norms(functools.partial(loss, cell)),
        (),
    ),
    "diagnose.gates": lambda cell: (
        lambda p, s, xs: (diagnose.gates(cell, p, xs, s), (p, s, xs))
    )(*given(cell)),
    "diagnose.saturation": lambda cell: (
        lambda p, s, xs: (diagnose.saturation(cell, p, xs, s), (p, s, xs))
    )(*given(cell)),
}  # fmt: skip
# `parallel` moves and adds what it is given, and gives back what lies where it should already.
OF_OTHERS = {"convert", "engines", "parallel"}


def public_functions():
    for name in jaxrnn.__all__:
        value = getattr(jaxrnn, name)
        if inspect.ismodule(value) and name not in OF_OTHERS:
            for inner, function in vars(value).items():
                own = getattr(function, "__module__", None) == value.__name__
                if own and inspect.isfunction(function) and not inner.startswith("_"):
                    yield f"{name}.{inner}"
        elif inspect.isfunction(value):
            yield name


def test_no_public_function_is_left_out():
    assert set(CALLS) == set(public_functions())


def pointers(tree):
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    return [leaf.unsafe_buffer_pointer() for leaf in arrays if leaf.size]


@all_cells
@pytest.mark.parametrize("name", CALLS)
def test_no_two_arrays_share_a_buffer(name, cell):
    answers, arguments = CALLS[name](cell)
    jax.block_until_ready(answers)
    found = pointers(answers)
    assert found
    assert len(set(found)) == len(found), "two answers share a buffer"
    assert not set(found) & set(pointers(arguments)), "an answer is an argument's buffer"


@all_cells
def test_states_and_outputs_can_be_donated(cell):
    """What JAX refuses with "Attempt to donate the same buffer twice"."""
    params = random_params(cell)
    state = jaxrnn.initial_state(cell, params, (6,))
    run = jax.jit(lambda tree: jax.tree.map(lambda a: a + 1, tree), donate_argnums=0)
    for leaf in run(state):
        np.testing.assert_array_equal(leaf, 1)
    for leaf in state:
        assert leaf.is_deleted(), "donated, and taken"
    state = random_state(cell)
    after = jaxrnn.step(cell, params, state, random_xs()[:, 0])
    expected = jax.tree.map(np.array, after)
    jax.tree.map(np.testing.assert_array_equal, run(after), jax.tree.map(lambda a: a + 1, expected))


def test_a_training_step_donates_weights_and_state():
    """A stateful recurrent layer as reinforcement learning has it: everything is donated."""
    cell, xs = jaxrnn.LSTM, random_xs()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train(params, state):
        def loss(params):
            after, hs = jaxrnn.unroll(cell, params, xs, state)
            return jnp.sum(hs**2), after

        gradient, after = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), after

    params = jaxrnn.init(KEY, cell, 5, 4)
    state = jaxrnn.initial_state(cell, params, (6,))
    copies = jax.tree.map(np.array, (params, state))  # a view would keep the buffer
    expected = train(*jax.tree.map(jnp.asarray, copies))
    actual = train(params, state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((params, state)))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_parallel_gives_new_arrays_of_what_it_draws_and_computes():
    ones = jnp.ones((4, 3))
    value, gradient = parallel.mean_value_and_grad(lambda w: jnp.sum(w))(ones)
    found = pointers((value, gradient, parallel.bernoulli(KEY, 0.5, (4,)), ones))
    assert len(set(found)) == 4
