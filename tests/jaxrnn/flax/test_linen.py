"""Linen's own conventions: attributes, variables, init and apply, tabulate."""

import inspect

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fronts import CLASSES, linen_modules
from tables import assert_close, every_cell, random_params, random_state, random_xs

import jaxrnn
from jaxrnn.flax import linen as rnn

GATES = {2: jaxrnn.SimpleRNN, 6: jaxrnn.GRU, 8: jaxrnn.LSTM}  # by the number of layers


def make(cell, **options):
    return getattr(rnn, CLASSES[cell.name])(4, **options)


def as_params(variables):
    """The weights of the cell in an RNN, or of one with parameters of its own."""
    tree = variables["params"]["cell"]
    return (
        jaxrnn.Params(**tree) if "wx" in tree else jaxrnn.convert.from_linen(GATES[len(tree)], tree)
    )


@every_cell
def test_initialisers_draw_each_gate_by_itself_and_may_name_axes(cell):
    cell_module = make(
        cell,
        kernel_init=nn.with_partitioning(nn.initializers.normal(1.0), (None, "model")),
        recurrent_kernel_init=nn.initializers.orthogonal(),
        bias_init=nn.initializers.constant(3.0),
        param_dtype=jnp.float32,
    )
    variables = rnn.RNN(cell_module).init(jax.random.key(0), random_xs())
    specs = nn.get_partition_spec(variables)["params"]["cell"]
    for inputs, _ in jaxrnn.convert.flax.LINEN[cell.name]:
        assert specs[inputs]["kernel"] == jax.sharding.PartitionSpec(None, "model")
    params = as_params(nn.unbox(variables))
    for block in jnp.split(params.wh, cell.gates, axis=1):
        assert_close(block @ block.T, jnp.eye(4), 1e-5)
    blocks = [np.asarray(b).tobytes() for b in jnp.split(params.wx, cell.gates, axis=1)]
    assert len(set(blocks)) == cell.gates
    np.testing.assert_array_equal(params.bx, 3.0)
    np.testing.assert_array_equal(params.bh[8:] if cell.recurrent_bias else 3.0, 3.0)
    rnn.RNN(cell_module).apply(variables, random_xs())  # boxes are opened on the way


@every_cell
def test_dtypes(cell):
    module = rnn.RNN(make(cell, param_dtype=jnp.bfloat16), return_carry=True)
    results, variables = module.init_with_output(jax.random.key(0), random_xs())
    assert {str(a.dtype) for a in jax.tree.leaves(variables)} == {"bfloat16"}
    assert {str(a.dtype) for a in jax.tree.leaves(results)} == {"float32"}


@every_cell
def test_one_step_and_flaxs_own_rnn(cell):
    params, state, xs = random_params(cell), random_state(cell), random_xs()
    variables = jaxrnn.convert.to_linen(cell, params)
    given = (state.c, state.h) if cell is jaxrnn.LSTM else state.h
    carry, h = make(cell).apply(variables, given, xs[:, 0])
    after, expected = jaxrnn.step(cell, params, state, xs[:, 0])
    assert_close((carry[::-1] if cell is jaxrnn.LSTM else [carry], h), ([*after], expected))
    hs = nn.RNN(make(cell)).apply({"params": {"cell": variables["params"]}}, xs)
    assert_close(hs, jaxrnn.unroll(cell, params, xs)[1])


@pytest.mark.parametrize("time_major", [False, True])
def test_carries_are_drawn_when_asked_for(time_major):
    ours, _ = linen_modules(jaxrnn.LSTM, time_major=time_major, return_carry=True)
    ours = ours.clone(cell=make(jaxrnn.LSTM, carry_init=nn.initializers.normal(1.0)))
    xs = jnp.ones((7, 200, 5) if time_major else (200, 7, 5))
    key = jax.random.key(3)
    (_, h), variables = ours.init_with_output(jax.random.key(0), xs)
    c, h = ours.cell.initialize_carry(key, (200, 5))
    assert not np.array_equal(c, h)
    assert abs(float(jnp.std(c)) - 1) < 0.1  # 800 draws: four standard deviations
    start, state = {}, jaxrnn.LSTMState(h=h, c=c)
    for name, call in {"drawn": {"init_key": key}, "given": {"initial_carry": (c, h)}}.items():
        start[name] = ours.apply(variables, xs, **call)
    assert_close(start["drawn"], start["given"], 0)
    expected = jaxrnn.unroll(jaxrnn.LSTM, as_params(variables), xs, state, time_major=time_major)
    assert_close(start["drawn"][1], expected[1])
    assert not np.array_equal(ours.apply(variables, xs)[1], start["drawn"][1])


@every_cell
def test_tabulate_shows_them(cell):
    table = rnn.RNN(make(cell)).tabulate(
        jax.random.key(0), random_xs(), console_kwargs={"width": 200, "force_terminal": False}
    )
    assert CLASSES[cell.name] in table
    assert table.count("kernel: float32[5,4]") == cell.gates
    count = sum(a.size for a in jax.tree.leaves(jaxrnn.convert.to_linen(cell, random_params(cell))))
    assert f"{count}" in table


@every_cell
def test_in_a_model_under_remat_and_vmap(cell):
    """Linen's lifted transforms: an ensemble of three, rematerialised."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs):
            return nn.Dense(2)(nn.remat(rnn.RNN)(make(cell), name="rnn")(xs))

    xs = random_xs()
    ensemble = nn.vmap(
        Model, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3
    )()
    ys, variables = ensemble.init_with_output(jax.random.key(0), xs)
    assert ys.shape == (3, 6, 7, 2)
    for k in range(3):
        one = jax.tree.map(lambda a: a[k], variables)  # noqa: B023
        assert_close(Model().apply(one, xs), ys[k])
    gradient = jax.grad(lambda v: jnp.sum(ensemble.apply(v, xs) ** 2))(variables)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(gradient))


def test_a_cell_of_ones_own():
    class LeakyCell(rnn.RecurrentCell):
        kind = jaxrnn.Cell("leaky", 1, jaxrnn.State, lambda gx, gh, state: jaxrnn.State(
            0.5 * state.h + 0.5 * jnp.tanh(gx + gh)))  # fmt: skip

    hs, variables = rnn.RNN(LeakyCell(4)).init_with_output(jax.random.key(0), random_xs())
    assert_close(hs, jaxrnn.unroll(LeakyCell.kind, as_params(variables), random_xs())[1], 0)


def test_flax_keeps_the_conventions_that_are_followed_here():
    """Its modules take these arguments, and ours all of them."""

    def names(thing):
        return set(inspect.signature(thing).parameters)

    for name in ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell"):
        assert names(getattr(nn, name)) == names(getattr(rnn, name)), flax.__version__
    assert names(rnn.RNN) - names(nn.RNN) == {"engine"}
    assert names(nn.RNN) <= names(rnn.RNN)
    assert names(rnn.RNN.__call__) - names(nn.RNN.__call__) == {"resets"}
    assert names(nn.RNN.__call__) <= names(rnn.RNN.__call__)
