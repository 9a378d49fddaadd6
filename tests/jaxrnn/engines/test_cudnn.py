"""The cuDNN engine without a GPU: all that stands around the call, with JAX's reference in it."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from jax.sharding import AxisType, PartitionSpec
from tables import assert_close, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import parallel
from jaxrnn.engines import cudnn, scan

module = importlib.import_module("jaxrnn.engines._cudnn")
LENGTHS = np.array([7, 0, 1, 6, 3, 7])


@pytest.fixture
def reference(monkeypatch):
    """`jax.experimental.rnn.lstm_ref`, with nothing promised about what stands past a length."""

    def lstm(x, h_0, c_0, weights, seq_lengths, *sizes):
        input_size, hidden_size, layers, _, bidirectional = sizes
        parts = rnn.unpack_lstm_weights(weights, input_size, hidden_size, layers, bidirectional)
        assert np.size(weights) == rnn.get_num_params_in_lstm(
            input_size, hidden_size, layers, bidirectional
        )
        y, h, c = rnn.lstm_ref(x, h_0, c_0, *parts, seq_lengths, *sizes)
        past = jnp.arange(x.shape[1]) >= seq_lengths[:, None]
        return jnp.where(past[..., None], jnp.nan, y), h, c

    monkeypatch.setattr(module.rnn, "lstm", lstm)
    monkeypatch.setattr(module, "why_not", lambda: "")
    monkeypatch.setattr(rnn, "rnn_fwd_p", None)  # the call itself is never reached


def weighted(engine, lengths, reverse, batch=(6,), time_major=False):
    """Values and gradients of a loss in which every number has a weight of its own."""
    params = random_params(jaxrnn.LSTM)
    xs, start = random_xs(batch=batch), random_state(jaxrnn.LSTM, batch=batch)
    if lengths is not None:
        lengths = lengths.reshape(batch)
        xs = jnp.where(np.arange(7)[:, None] < lengths[..., None, None], xs, jnp.nan)
    if time_major:
        xs = jnp.moveaxis(xs, -2, 0)

    def loss(params, xs, start):
        actual = jaxrnn.unroll(
            jaxrnn.LSTM, params, xs, start, lengths=lengths, reverse=reverse, engine=engine,
            time_major=time_major,
        )  # fmt: skip
        rng = np.random.default_rng(0)
        total = sum(jnp.sum(rng.normal(size=a.shape) * a) for a in jax.tree.leaves(actual))
        return total, actual

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(params, xs, start)


@pytest.mark.pairs
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [(6,), (2, 3)])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.usefixtures("reference")
def test_equals_the_scan(lengths, reverse, batch, time_major):
    how = (lengths, reverse, batch, time_major)
    # Sums of 200 terms in float32, in another order.
    assert_close(weighted(cudnn, *how), weighted(scan, *how), 1e-5)


@pytest.mark.usefixtures("reference")
def test_one_sequence_and_no_steps():
    params, xs = random_params(jaxrnn.LSTM), random_xs(batch=())
    options = {"lengths": np.int32(4), "reverse": True}
    actual, expected = (
        jaxrnn.unroll(jaxrnn.LSTM, params, xs, **options, engine=engine) for engine in (cudnn, scan)
    )
    assert_close(actual, expected)
    start = random_state(jaxrnn.LSTM)
    end, hs = jaxrnn.unroll(jaxrnn.LSTM, params, jnp.zeros((6, 0, 5)), start, engine=cudnn)
    jax.tree.map(np.testing.assert_array_equal, end, start)
    assert hs.shape == (6, 0, 4)


@pytest.mark.usefixtures("reference")
def test_integer_inputs_are_cast():
    params, xs = random_params(jaxrnn.LSTM), jnp.arange(6 * 7 * 5).reshape(6, 7, 5) % 3
    actual, expected = (
        jaxrnn.unroll(jaxrnn.LSTM, params, xs, engine=engine) for engine in (cudnn, scan)
    )
    assert_close(actual, expected)


def test_weights_lie_as_cudnn_reads_them():
    """Number by number: matrices row by row, gates i, f, g, o, then the input's and h's biases."""
    D, H = 5, 4
    params = random_params(jaxrnn.LSTM)
    wx, wh, bx = (np.asarray(a) for a in params[:3])
    expected = []
    for matrix, columns in ((wx, D), (wh, H)):
        for gate in range(4):
            for unit in range(H):
                for column in range(columns):
                    expected.append(matrix[column, gate * H + unit])
    for gate in range(4):
        for unit in range(H):
            expected.append(bx[gate * H + unit])
    expected += [0.0] * 4 * H
    np.testing.assert_array_equal(module.packed(params), np.float32(expected))


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "dtype", "resets", "error", "message"),
    [
        (jaxrnn.GRU, "float32", None, ValueError, "runs the cell 'lstm', not 'gru'"),
        (jaxrnn.SimpleRNN, "float32", None, ValueError, "runs the cell 'lstm', not 'rnn'"),
        (
            dataclasses.replace(jaxrnn.LSTM, update=lambda gx, gh, state: state), "float32", None,
            ValueError, "runs the cell 'lstm'",
        ),
        (jaxrnn.LSTM, "bfloat16", None, TypeError, "runs float32, not bfloat16"),
        (jaxrnn.LSTM, "float32", np.zeros((6, 7), bool), ValueError, "has no resets"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.usefixtures("reference")
def test_its_limits_are_named(cell, dtype, resets, error, message, time_major):
    params, xs = random_params(cell, dtype=dtype), random_xs()
    if time_major:
        xs, resets = jnp.moveaxis(xs, 1, 0), None if resets is None else resets.T
    with pytest.raises(error, match=f"{message}.*; use engine=jaxrnn.engines.scan"):
        jaxrnn.unroll(cell, params, xs, resets=resets, time_major=time_major, engine=cudnn)


@pytest.mark.usefixtures("reference")
def test_no_mesh_that_is_checked():
    params, xs = random_params(jaxrnn.LSTM), random_xs()
    split, whole = PartitionSpec("data"), PartitionSpec()

    def run(params, xs):
        return jaxrnn.unroll(jaxrnn.LSTM, params, xs, engine=cudnn)[1]

    def on_two(checked):
        return jax.shard_map(
            run, mesh=parallel.mesh(2), in_specs=(whole, split), out_specs=split, check_vma=checked
        )

    with pytest.raises(ValueError, match="no checked shard_map"):
        on_two(True)(params, xs)
    assert_close(on_two(False)(params, xs), run(params, xs))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="no Explicit mesh"):
        run(jax.device_put(params, whole), jax.device_put(xs, split))


def test_here_there_is_no_gpu():
    why = "it runs on NVIDIA GPUs; JAX's default is 'cpu'"
    assert jaxrnn.engines.available()["cudnn"] == why
    with pytest.raises(RuntimeError, match=f"{why}; use engine=jaxrnn.engines.scan"):
        jaxrnn.unroll(jaxrnn.LSTM, random_params(jaxrnn.LSTM), random_xs(), engine=cudnn)


def test_a_gpu_without_cudnn_says_so(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "no cuDNN" in jaxrnn.engines.available()["cudnn"]
    monkeypatch.setattr(rnn.gpu_rnn, "_cuda_rnn", object())
    assert jaxrnn.engines.available()["cudnn"] == ""
    for cell in jaxrnn.CELLS.values():
        assert jaxrnn.engines.choose(cell, jnp.dtype("float32")) is not cudnn
