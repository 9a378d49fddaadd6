"""Weights of the real libraries, loaded: outputs, final states and gradients are theirs.

Gradients are taken with respect to the other library's own weights, through the conversion.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
import peers
import pytest
import torch_answers
from flax import nnx
from safetensors.numpy import load_file, save_file
from tables import assert_close, every_cell, random_params

import jaxrnn
from jaxrnn import GRU, LSTM, ResetBeforeGRU, SimpleRNN, convert

# Sums of up to 15 terms over 6 steps and 4 sequences: what the issue of this file asks for.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LENGTHS = np.array([6, 1, 4, 5])
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)
BOTH_WAYS = {"layers": 2, "bidirectional": True}

ROWS = {
    f"{make.__name__}-{cell.name}" + "".join(f"-{k}={v}" for k, v in options.items()): (
        make, cell, options,
    )
    for make, cell, options in [
        *[(peers.keras_peer, c, {}) for c in (SimpleRNN, LSTM, GRU, ResetBeforeGRU)],
        *[(peers.keras_peer, c, BOTH_WAYS) for c in (SimpleRNN, LSTM, GRU, ResetBeforeGRU)],
        *[(peers.keras_peer, c, {"units": 1, "use_bias": False}) for c in (LSTM, GRU)],
        *[(peers.linen_peer, c, {"units": 7}) for c in (SimpleRNN, LSTM, GRU)],
        (peers.linen_peer, LSTM, {"inputs": 1, "kind": nn.LSTMCell}),
        *[(peers.nnx_peer, c, {"units": 7}) for c in (SimpleRNN, LSTM, GRU)],
        (peers.nnx_peer, LSTM, {"inputs": 1, "kind": nnx.OptimizedLSTMCell}),
        *[(peers.haiku_peer, c, {}) for c in (LSTM, ResetBeforeGRU)],
        *[(peers.equinox_peer, c, {}) for c in (LSTM, GRU)],
        *[(peers.equinox_peer, c, {"units": 1, "use_bias": False}) for c in (LSTM, GRU)],
    ]
}  # fmt: skip
every_peer = pytest.mark.parametrize(("make", "cell", "options"), ROWS.values(), ids=ROWS.keys())


def inputs_for(options, dtype):
    rng = np.random.default_rng(7)
    return jnp.asarray(rng.normal(size=(4, 6, options.get("inputs", 3))), dtype)


def loss_and_answers(run, lengths):
    """The sum of the sines of all valid outputs and all final states, and these themselves."""

    def loss(weights, xs):
        states, hs = run(weights, xs)
        if lengths is not None:
            hs = jnp.where(np.arange(6)[:, None] < lengths[:, None, None], hs, 0)
        states = [[tuple(state) for state in layer] for layer in states]
        return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((states, hs))), (states, hs)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.pairs
@every_peer
@every_dtype
def test_parity(make, cell, options, dtype):
    with jax.enable_x64(dtype == "float64"):
        peer, xs = make(cell, dtype, **options), inputs_for(options, dtype)
        lengths = None if make in (peers.haiku_peer, peers.equinox_peer) else LENGTHS

        def ours(weights, xs):
            return jaxrnn.unroll_stack(cell, peer.load(weights), xs, lengths=lengths)

        def theirs(weights, xs):
            return peer.run(weights, xs, lengths)

        actual = loss_and_answers(ours, lengths)(peer.weights, xs)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(actual)} == {dtype}
        expected = loss_and_answers(theirs, lengths)(peer.weights, xs)
        assert_close(actual, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("case", torch_answers.CASES, ids=str)
@every_dtype
def test_parity_with_pytorch(case, dtype):
    cell, expected = jaxrnn.CELLS[case.cell], torch_answers.stored(case)
    lengths = torch_answers.LENGTHS if case.ragged else None
    with jax.enable_x64(dtype == "float64"):

        def run(weights, xs):
            stack = convert.from_torch(cell, weights)
            return jaxrnn.unroll_stack(cell, stack, xs, lengths=lengths)

        weights = {n: jnp.asarray(a) for n, a in torch_answers.weights(case, dtype).items()}
        xs = jnp.asarray(torch_answers.inputs(dtype))
        (_, (states, hs)), (gradient, xs_gradient) = loss_and_answers(run, lengths)(weights, xs)
        actual = {"hs": hs, "xs.grad": xs_gradient}
        ends = [state for layer in states for state in layer]  # PyTorch's order: layer by layer
        actual |= {name: jnp.stack(f) for name, f in zip("hc", zip(*ends, strict=True))}  # noqa: B905
        actual |= {f"{name}.grad": g for name, g in gradient.items()}
        assert actual.keys() == expected.keys()
        assert_close(actual, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("case", torch_answers.CASES, ids=str)
def test_pytorch_still_answers_so(case):
    pytest.importorskip("torch", reason="PyTorch is not installed: extra `peers`")
    # Another build may sum in another order: a few roundings of float64.
    assert_close(torch_answers.ask(case), torch_answers.stored(case), 1e-13)
    if case.bias:
        cell = jaxrnn.CELLS[case.cell]
        back = convert.to_torch(cell, convert.from_torch(cell, torch_answers.weights(case)))
        answers = torch_answers.ask(case, {n: np.float64(a) for n, a in back.items()})
        assert_close(answers["hs"], torch_answers.stored(case)["hs"], 1e-5)  # float32 between


def test_a_file_of_safetensors_is_a_state_dict(tmp_path):
    case = torch_answers.CASES[3]
    arrays = torch_answers.weights(case, "float32")
    save_file({f"encoder.rnn.{n}": a for n, a in arrays.items()} | {"head": np.ones(3)},
              tmp_path / "model.safetensors")  # fmt: skip
    read = convert.from_torch(
        SimpleRNN, load_file(tmp_path / "model.safetensors"), prefix="encoder.rnn."
    )
    jax.tree.map(np.testing.assert_array_equal, read, convert.from_torch(SimpleRNN, arrays))


def stack_of(cell, dtype="float32"):
    sizes = [3, 8]
    return tuple(
        tuple(random_params(cell, 10 * n + d, size, dtype=dtype) for d in range(2))
        for n, size in enumerate(sizes)
    )


def assert_same(actual, expected):
    """Bit for bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("cell", [SimpleRNN, LSTM, GRU, ResetBeforeGRU], ids=lambda c: c.name)
def test_there_and_back_through_keras(cell):
    params = stack_of(cell)
    arrays = convert.to_keras(cell, params)
    layers = peers.keras_layers(cell, inputs=3, units=4, **BOTH_WAYS)
    for layer, mine in zip(layers, arrays, strict=True):
        layer.set_weights(mine)  # checks every shape
    assert_same(convert.from_keras(cell, [peers.get_weights(layer) for layer in layers]), params)


@every_cell
def test_there_and_back_through_pytorch(cell):
    params = stack_of(cell)
    arrays = convert.to_torch(cell, params, prefix="rnn.")
    assert all(type(a) is np.ndarray and a.flags["C_CONTIGUOUS"] for a in arrays.values())
    assert_same(convert.from_torch(cell, arrays, prefix="rnn."), params)


def without_recurrent_bias(params, gates):
    """The GRU's `bh` as zero in the first gates, where Flax has one bias instead of two."""
    return params if params.bh is None else params._replace(bh=params.bh.at[: gates * 4].set(0))


@every_cell
@pytest.mark.parametrize("optimized", [False, True])
def test_there_and_back_through_flax(cell, optimized):
    params = without_recurrent_bias(random_params(cell), 2)
    kind = nn.OptimizedLSTMCell if optimized and cell is LSTM else None
    theirs = peers.linen_peer(cell, inputs=5, units=4, kind=kind).weights["params"]["cell"]
    variables = convert.to_linen(cell, params)
    assert jax.tree.map(jnp.shape, variables) == {"params": jax.tree.map(jnp.shape, theirs)}
    assert_same(convert.from_linen(cell, variables), params)

    params = without_recurrent_bias(params, 3)
    kind = nnx.OptimizedLSTMCell if optimized and cell is LSTM else peers.NNX[cell.name]
    module = kind(5, 4, rngs=nnx.Rngs(0))
    optimized = optimized and cell is LSTM
    nnx.update(module, convert.to_nnx(cell, params, optimized=optimized))
    assert_same(convert.from_nnx(cell, nnx.state(module)), params)
    assert_same(convert.from_nnx(cell, nnx.to_pure_dict(nnx.state(module))), params)


def test_there_and_back_through_haiku():
    params = random_params(ResetBeforeGRU)
    assert_same(
        convert.from_haiku(ResetBeforeGRU, convert.to_haiku(ResetBeforeGRU, params)), params
    )
    params = random_params(LSTM)
    back = convert.from_haiku(LSTM, convert.to_haiku(LSTM, params))
    assert_close(back, params, 1e-7)  # 1 is taken off the forget bias and added again
    assert_same(back._replace(bx=params.bx), params)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=lambda c: c.name)
def test_there_and_back_through_equinox(cell):
    """Through the module itself, which `tree_at` gives the arrays."""
    params, xs = random_params(cell), jnp.ones((2, 6, 5))
    arrays = convert.to_equinox(cell, params)
    peer = peers.equinox_peer(cell, inputs=5, units=4)
    module = peers.eqx.tree_at(
        lambda module: [getattr(module, name) for name in arrays],
        peer.weights,
        [jnp.asarray(a) for a in arrays.values()],
    )
    assert_close(peer.run(module, xs, None)[1], jaxrnn.unroll(cell, params, xs)[1], 1e-6)
    params = without_recurrent_bias(params, 2)
    assert_same(convert.from_equinox(cell, convert.to_equinox(cell, params)), params)


@every_dtype
def test_flax_gets_the_sum_of_two_biases(dtype):
    """A GRU of ours with all its biases is the same function in Linen."""
    with jax.enable_x64(dtype == "float64"):
        params, xs = random_params(GRU, dtype=dtype), jnp.ones((2, 6, 5), dtype)
        variables = {"params": {"cell": convert.to_linen(GRU, params)["params"]}}
        hs = nn.RNN(nn.GRUCell(4, param_dtype=dtype)).apply(variables, xs)
        assert_close(hs, jaxrnn.unroll(GRU, params, xs)[1], TOLERANCE[dtype])


def test_a_bidirectional_layer_of_keras_loads_as_it_is_built():
    """By the library's own constructor, without this file's helpers."""
    layer = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True))
    xs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    expected = np.asarray(layer(xs))
    _, hs = jaxrnn.unroll_stack(GRU, convert.from_keras(GRU, [peers.get_weights(layer)]), xs)
    assert_close(hs, expected, TOLERANCE["float32"])
