"""NNX's own conventions: constructor, state, transforms, tabulate."""

import inspect

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from fronts import CLASSES, nnx_modules
from jax.sharding import AxisType
from tables import assert_close, every_cell, random_params, random_state, random_xs

import jaxrnn
from jaxrnn.flax import nnx as rnn

LENGTHS = np.array([7, 0, 1, 6, 3, 7])


def make(cell, **options):
    return getattr(rnn, CLASSES[cell.name])(5, 4, rngs=nnx.Rngs(0), **options)


@every_cell
def test_initialisers_draw_each_gate_by_itself(cell):
    module = make(
        cell,
        kernel_init=nnx.initializers.normal(1.0),
        recurrent_kernel_init=nnx.initializers.orthogonal(),
        bias_init=nnx.initializers.constant(3.0),
    )
    for block in jnp.split(module.params.wh, cell.gates, axis=1):
        assert_close(block @ block.T, jnp.eye(4), 1e-5)
    for matrix in (module.params.wx, module.params.wh):
        blocks = [np.asarray(b).tobytes() for b in jnp.split(matrix, cell.gates, axis=1)]
        assert len(set(blocks)) == cell.gates
    assert 0.5 < float(jnp.std(module.params.wx)) < 1.5
    np.testing.assert_array_equal(module.params.bx, 3.0)
    if cell.recurrent_bias:
        module = make(cell, bias_init=nnx.initializers.constant(3.0), candidate_bias=True)
        np.testing.assert_array_equal(module.params.bh[8:], 3.0)


@every_cell
def test_dtypes(cell):
    module = rnn.RNN(make(cell, param_dtype=jnp.bfloat16), return_carry=True)
    assert {str(a.dtype) for a in jax.tree.leaves(module.cell.params)} == {"bfloat16"}
    assert {str(a.dtype) for a in jax.tree.leaves(module(random_xs()))} == {"float32"}


@every_cell
def test_metadata_shards_the_weights(cell):
    """Over the units, as Flax lays out what `out_sharding` names; the answers stay."""
    P = jax.sharding.PartitionSpec
    with jax.set_mesh(jax.make_mesh((2,), ("model",), axis_types=(AxisType.Auto,))):
        module = make(
            cell,
            kernel_metadata={"out_sharding": (None, "model")},
            recurrent_kernel_metadata={"out_sharding": ("model", None)},
            bias_metadata={"out_sharding": ("model",)},
        )
        wanted = {
            "wx": P(None, "model"),
            "wh": P("model", None),
            "bx": P("model"),
            "bh": P("model"),
        }
        for name, array in module.params._asdict().items():
            # NNX's GRU has no parameter for bh: zeros.
            assert array is None or name == "bh" or array.sharding.spec == wanted[name], name
        hs = jax.jit(rnn.RNN(module))(random_xs(), seq_lengths=LENGTHS)
    params = jax.tree.map(np.asarray, module.params)
    assert_close(hs, jaxrnn.unroll(cell, params, random_xs(), lengths=LENGTHS)[1])


@every_cell
def test_weights_are_set_as_params(cell):
    options = {"candidate_bias": True} if cell.recurrent_bias else {}
    module, params = make(cell, **options), random_params(cell)
    module.set_params(params)
    if cell.recurrent_bias:  # one bias each for r and z, as in Flax
        both = params.bx[:8] + params.bh[:8]
        params = params._replace(bx=params.bx.at[:8].set(both), bh=params.bh.at[:8].set(0))
    assert_close(module.params, params, 0)
    state = random_state(cell)
    expected = jaxrnn.step(cell, params, state, random_xs()[:, 0])
    carry = module.initialize_carry((6, 5))
    assert jax.tree.map(jnp.shape, carry) == ((6, 4) if cell is not jaxrnn.LSTM else ((6, 4),) * 2)
    given = (state.c, state.h) if cell is jaxrnn.LSTM else state.h
    for start in (given, state):  # Flax's carry, or our state as it is
        carry, h = module(start, random_xs()[:, 0])
        assert_close((carry[::-1] if cell is jaxrnn.LSTM else [carry], h), [*expected])
    with pytest.raises(ValueError, match=r"wx has shape \(6, .*; this cell's \(5, "):
        module.set_params(random_params(cell, inputs=6))
    wrong = params._replace(bh=jnp.zeros(cell.gates * 4) if params.bh is None else None)
    with pytest.raises(ValueError, match=r"bh (is missing|has shape)"):
        module.set_params(wrong)


@every_cell
def test_flaxs_own_rnn_runs_our_cells(cell):
    ours, _, params = nnx_modules(cell)
    carry, hs = nnx.RNN(ours.cell, return_carry=True)(random_xs())
    state, expected = jaxrnn.unroll(cell, params, random_xs())
    assert_close(hs, expected)
    assert_close(carry, (state.c, state.h) if cell is jaxrnn.LSTM else state.h)


def test_carries_are_drawn_when_asked_for():
    cell = make(jaxrnn.LSTM)
    normal = nnx.initializers.normal(1.0)
    c, h = cell.initialize_carry((200, 5), nnx.Rngs(carry=1), normal)
    assert not np.array_equal(c, h)
    assert abs(float(jnp.std(c)) - 1) < 0.1  # 800 draws: four standard deviations
    stream = cell.initialize_carry((200, 5), nnx.Rngs(carry=1).carry, normal)
    assert_close(stream, (c, h), 0)
    with pytest.raises(ValueError, match="carry_init needs rngs"):
        cell.initialize_carry((2, 5), None, normal)


def test_a_state_of_ones_own_is_drawn_field_by_field():
    """In a cell of the library's form, from Flax's stream and in its order."""

    class OwnCell(rnn.RecurrentCell):
        kind = jaxrnn.LSTM

    cell, normal = OwnCell(5, 4, rngs=nnx.Rngs(0)), nnx.initializers.normal(1.0)
    drawn = cell.initialize_carry((6, 5), nnx.Rngs(carry=1), normal)
    expected = make(jaxrnn.LSTM).initialize_carry((6, 5), nnx.Rngs(carry=1), normal)
    assert_close(drawn, expected, 0)
    assert not np.array_equal(*drawn)
    zeros = cell.initialize_carry((6, 5))
    assert zeros[0].unsafe_buffer_pointer() != zeros[1].unsafe_buffer_pointer()


@every_cell
def test_a_model_trains_under_nnx_transforms(cell):
    """nnx.jit, nnx.value_and_grad and nnx.Optimizer, on ragged sequences of which one is empty."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = rnn.RNN(getattr(rnn, CLASSES[cell.name])(5, 8, rngs=rngs), return_carry=True)
            self.readout = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, xs, lengths):
            carry, _ = self.rnn(xs, seq_lengths=lengths)
            return self.readout(carry[1] if cell is jaxrnn.LSTM else carry)[:, 0]

    xs, lengths = random_xs(), jnp.asarray(LENGTHS)
    wanted = jnp.asarray([1.0, 0, 0, 1, 0, 1])
    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def train_step(model, optimizer):
        loss, gradient = nnx.value_and_grad(
            lambda model: jnp.mean((model(xs, lengths) - wanted) ** 2)
        )(model)
        optimizer.update(model, gradient)
        return loss

    losses = [float(train_step(model, optimizer)) for _ in range(40)]
    assert losses[-1] < 0.1 * losses[0]


@every_cell
def test_tabulate_shows_them(cell):
    table = nnx.tabulate(
        rnn.RNN(make(cell)), random_xs(), console_kwargs={"width": 200, "force_terminal": False}
    )
    assert CLASSES[cell.name] in table
    count = sum(a.size for a in jax.tree.leaves(nnx.state(make(cell), nnx.Param)))
    assert f"{count:,}" in table


def test_a_cell_of_ones_own():
    class LeakyCell(rnn.RecurrentCell):
        kind = jaxrnn.Cell("leaky", 1, jaxrnn.State, lambda gx, gh, state: jaxrnn.State(
            0.5 * state.h + 0.5 * jnp.tanh(gx + gh)))  # fmt: skip

    cell = LeakyCell(5, 4, rngs=nnx.Rngs(0))
    expected = jaxrnn.unroll(LeakyCell.kind, cell.params, random_xs())[1]
    assert_close(rnn.RNN(cell)(random_xs()), expected, 0)


def test_another_engine_is_an_argument():
    directions = []

    def spy(*args, **options):
        directions.append(options["reverse"])
        return jaxrnn.engines.scan(*args, **options)

    rnn.RNN(make(jaxrnn.GRU), engine=spy, reverse=True)(random_xs())
    assert directions == [True]


def test_flax_keeps_the_conventions_that_are_followed_here():
    """Its modules take these arguments, and ours all of them; cells hand them on."""

    def names(function):
        return set(inspect.signature(function).parameters)

    assert names(rnn.RNN.__init__) - names(nnx.RNN.__init__) == {"engine"}, flax.__version__
    assert names(nnx.RNN.__init__) <= names(rnn.RNN.__init__)
    assert names(rnn.RNN.__call__) - names(nnx.RNN.__call__) == {"resets"}
    assert names(nnx.RNN.__call__) <= names(rnn.RNN.__call__)
