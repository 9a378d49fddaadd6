"""What users hand over: carries of any width, wrong ones, generators; and where modules stand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec
from tables import assert_close, random_params, random_xs

import jaxrnn
from jaxrnn import convert
from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

CELLS = ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")
every_class = pytest.mark.parametrize("name", CELLS)


def carry_of(name, units, seed=5):
    h, c = jax.random.normal(jax.random.key(seed), (2, 6, units))
    return (c, h) if "LSTM" in name else h


@every_class
def test_the_carry_decides_the_width_in_linen(name):
    """As in Flax's seq2seq example, whose decoder has the encoder's carry and other `features`."""
    carry = carry_of(name, 8)
    ours, theirs = [
        library.RNN(getattr(library, name)(3), return_carry=True) for library in (our_linen, nn)
    ]
    key = jax.random.key(0)
    result, variables = ours.init_with_output(key, random_xs(), initial_carry=carry)
    expected, fresh = theirs.init_with_output(key, random_xs(), initial_carry=carry)
    jax.tree.map(np.testing.assert_array_equal, variables, fresh)
    assert_close(result, expected)
    assert_close(ours.apply(variables, random_xs(), initial_carry=carry), expected)
    with pytest.raises(ValueError, match="features is 3; the weights have 8 units: give initial"):
        ours.apply(variables, random_xs())


@pytest.mark.parametrize("library", [our_nnx, nnx], ids=["ours", "flax"])
@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("LSTMCell", jnp.zeros((6, 4)), r"carry is an? \w+; that of a lstm is \(c, h\)"),
        ("GRUCell", (jnp.zeros((6, 4)),) * 2, "carry is a tuple; that of a gru is the array h"),
        ("GRUCell", jnp.zeros((6, 3)), r"has shape \(6, 3\)"),
        ("GRUCell", jnp.zeros((1, 4)), r"has shape \(1, 4\)"),
        ("SimpleCell", jaxrnn.LSTMState(*jnp.zeros((2, 6, 4))), "carry is a LSTMState; that of a"),
    ],
)
def test_a_wrong_carry_is_named(library, name, wrong, message):
    """By `RNN`; and by a step of our cells, which would broadcast a batch as Flax's do."""
    cell = getattr(library, name)(5, 4, rngs=nnx.Rngs(0))
    with pytest.raises((TypeError, ValueError), match=message):
        our_nnx.RNN(cell)(random_xs(), initial_carry=wrong)
    if library is our_nnx and "(1, 4)" not in message.replace("\\", ""):
        with pytest.raises((TypeError, ValueError), match=message):
            cell(wrong, random_xs()[:, 0])


@pytest.mark.parametrize("keep_rngs", [False, True])
def test_a_carry_is_drawn_from_the_generators_that_flax_draws_from(keep_rngs):
    """The cell's, the RNN's and the call's, each in its turn."""
    drawn = {"carry_init": nnx.initializers.normal(1.0), "keep_rngs": keep_rngs}
    with pytest.warns(UserWarning, match="carry_init is provided|keep_rngs argument"):
        cells = [library.LSTMCell(5, 4, **drawn, rngs=nnx.Rngs(0)) for library in (our_nnx, nnx)]
    for rngs in (True, nnx.Rngs(3)):
        results = []
        for library, cell in zip((our_nnx, nnx), cells, strict=True):
            given = nnx.clone(rngs) if isinstance(rngs, nnx.Rngs) else rngs
            rnn = library.RNN(cell, rngs=given, return_carry=True)
            results.append([rnn(random_xs()), rnn(random_xs()), rnn(random_xs(), rngs=nnx.Rngs(4))])
        assert_close(*results)
        assert not np.allclose(results[0][0][1], results[0][1][1])


def test_keep_rngs_is_kept():
    with pytest.warns(UserWarning, match="keep_rngs argument is deprecated"):
        ours, theirs = [
            library.GRUCell(5, 4, keep_rngs=True, rngs=nnx.Rngs(0)) for library in (our_nnx, nnx)
        ]
    paths = [list(nnx.to_flat_state(nnx.state(cell)).paths) for cell in (ours, theirs)]
    assert paths[0] == paths[1]
    carry = ours.initialize_carry((6, 5))
    np.testing.assert_array_equal(carry, theirs.initialize_carry((6, 5)))
    assert int(ours.rngs.count[...]) == int(theirs.rngs.count[...]) == 1


def test_a_gru_of_nnx_with_a_candidate_bias():
    """Its state converts with it, and a state without it loads as Flax's does."""
    params = random_params(jaxrnn.GRU)
    cell = our_nnx.GRUCell(5, 4, candidate_bias=True, rngs=nnx.Rngs(0))
    cell.set_params(params)
    expected = jaxrnn.unroll(jaxrnn.GRU, params, random_xs())[1]
    assert_close(our_nnx.RNN(cell)(random_xs()), expected)
    assert_close(nnx.RNN(cell)(random_xs()), expected)
    loaded = convert.from_nnx(jaxrnn.GRU, nnx.to_pure_dict(nnx.state(cell)))
    assert_close(jaxrnn.unroll(jaxrnn.GRU, loaded, random_xs())[1], expected)
    plain = our_nnx.GRUCell(5, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="make it with candidate_bias=True"):
        plain.set_params(params)


@every_class
def test_the_import_is_all_that_changes(name):
    """What is not recurrent comes from Flax."""
    assert our_nnx.Linear is nnx.Linear
    assert our_linen.Dense is nn.Dense
    assert our_linen.ConvLSTMCell is nn.ConvLSTMCell
    assert our_nnx.RNNCellBase is nnx.RNNCellBase
    assert our_linen.RNNCellBase is nn.RNNCellBase
    assert issubclass(getattr(our_nnx, name), getattr(nnx, name))
    assert issubclass(getattr(our_linen, name), getattr(nn, name))
    with pytest.raises(AttributeError, match="LSTMCel"):
        our_nnx.LSTMCel  # noqa: B018


def test_layers_that_nn_scan_stacks():
    """Three layers with weights of their own, drawn and run as Flax's are."""
    results = []
    for library in (our_linen, nn):

        class Layer(nn.Module):
            recurrent = library

            @nn.compact
            def __call__(self, xs, _):
                return self.recurrent.RNN(self.recurrent.GRUCell(5))(xs), None

        stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
        (hs, _), variables = stack.init_with_output(jax.random.key(0), random_xs(), None)
        results.append((hs, jax.tree.leaves(variables)))
    assert results[0][1][0].shape[0] == 3
    assert_close(*results)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell"])
def test_a_cell_that_is_scanned_runs_inside_default_shard_map(name):
    """Its zero carry varies over the mesh as the inputs do."""
    cell = getattr(our_linen, name)(4, gate_fn=jax.nn.hard_sigmoid)
    rnn = our_linen.RNN(cell, return_carry=True)
    xs = random_xs(batch=(8,))
    variables = rnn.init(jax.random.key(0), xs)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    data = PartitionSpec("data")
    run = jax.shard_map(
        rnn.apply, mesh=mesh, in_specs=(PartitionSpec(), data), out_specs=(data, data)
    )
    assert_close(jax.jit(run)(variables, xs), rnn.apply(variables, xs))
