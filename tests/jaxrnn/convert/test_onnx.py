"""Layers in ONNX, run by onnxruntime: its nodes give what `unroll_stack` gives."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from tables import assert_close, random_params

import jaxrnn
from jaxrnn import CELLS, GRU, LSTM, ResetBeforeGRU, SimpleRNN, convert

onnxruntime = pytest.importorskip("onnxruntime", reason="it has no wheel for macOS 12")

CELLS = [*CELLS.values(), ResetBeforeGRU]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
LENGTHS = np.array([6, 0, 1, 4], np.int32)
NODES = {"rnn": "RNN", "relu_rnn": "RNN", "lstm": "LSTM"}


def stack_of(cell, layers, directions, inputs=3, units=4, dtype="float32"):
    sizes = [inputs, *[directions * units] * (layers - 1)]
    return tuple(
        tuple(random_params(cell, 10 * n + d, size, units, dtype) for d in range(directions))
        for n, size in enumerate(sizes)
    )


def states_of(cell, stack, batch, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(
        tuple(
            cell.state(
                *[
                    rng.normal(size=(batch, p.wh.shape[0])).astype("float32")
                    for _ in cell.state._fields
                ]
            )
            for p in layer
        )
        for layer in stack
    )


def by_name(states, end=""):
    """`states[layer][direction]` as the model has them."""
    return {
        f"{field}{n}{end}": np.stack([getattr(state, field) for state in layer])
        for n, layer in enumerate(states)
        for field in layer[0]._fields
    }


def run(model, **inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (1, 2), (3, 1), (2, 2)])
@every_cell
def test_onnxruntime_answers_as_unroll_stack(cell, layers, directions):
    """Ragged, with a length of 0, NaN in the padding, and first states."""
    stack = stack_of(cell, layers, directions)
    xs = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    xs[np.arange(6) >= LENGTHS[:, None]] = np.nan
    states = states_of(cell, stack, 4)
    model = convert.to_onnx(cell, stack)
    actual = run(model, xs=xs, lengths=LENGTHS, **by_name(states))
    ends, hs = jaxrnn.unroll_stack(cell, stack, xs, states, lengths=LENGTHS)
    # Float32, with the exponential function of another library.
    assert_close(actual, {"hs": hs} | by_name(ends, "_last"), 5e-6)
    for name, first in by_name(states).items():
        np.testing.assert_array_equal(actual[f"{name}_last"][:, 1], first[:, 1])
    found = [node.op_type for node in model.graph.node if node.op_type in ("RNN", "LSTM", "GRU")]
    assert found == [NODES.get(cell.name, "GRU")] * layers


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("with_lengths", [False, True])
@every_cell
def test_inputs_that_are_left_out(cell, with_lengths, with_states):
    stack = stack_of(cell, 2, 1)
    model = convert.to_onnx(cell, stack, with_lengths=with_lengths, with_states=with_states)
    states = states_of(cell, stack, 4) if with_states else None
    inputs = by_name(states) if with_states else {}
    inputs |= {"lengths": LENGTHS} if with_lengths else {}
    assert {i.name for i in model.graph.input} == {"xs", *inputs}
    for steps in (6, 7):  # any number of steps, which is no part of the model
        xs = np.random.default_rng(0).normal(size=(4, steps, 3)).astype("float32")
        lengths = LENGTHS if with_lengths else None
        ends, hs = jaxrnn.unroll_stack(cell, stack, xs, states, lengths=lengths)
        assert_close(run(model, xs=xs, **inputs), {"hs": hs} | by_name(ends, "_last"), 5e-6)


def test_weights_of_16_bits_become_float32():
    stack = stack_of(GRU, 1, 1, dtype="bfloat16")
    model = convert.to_onnx(GRU, stack, with_states=False)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), stack)
    xs = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    _, hs = jaxrnn.unroll_stack(GRU, wide, xs, lengths=LENGTHS)
    assert_close(run(model, xs=xs, lengths=LENGTHS)["hs"], hs, 5e-6)


def test_weights_of_64_bits_stay_so():
    """onnxruntime has no such kernels: ONNX's own evaluator runs it, without lengths."""
    from onnx.reference import ReferenceEvaluator

    with jax.enable_x64(True):
        stack = stack_of(LSTM, 1, 1, dtype="float64")
        model = convert.to_onnx(LSTM, stack, with_lengths=False, with_states=False)
        xs = np.random.default_rng(0).normal(size=(4, 6, 3))
        _, hs = jaxrnn.unroll_stack(LSTM, stack, xs)
        answer = ReferenceEvaluator(model).run(["hs"], {"xs": xs})[0]
        assert answer.dtype == np.float64
        assert_close(answer, hs, 1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convert.to_onnx(jaxrnn.Cell("leaky", 1, jaxrnn.State, SimpleRNN.update), ()),
         r"^ONNX has no leaky; it has rnn, relu_rnn, lstm, gru, gru_reset_before$"),
        (lambda: convert.to_onnx(GRU, (tuple(random_params(GRU, units=n) for n in (4, 3)),)),
         r"^params\[0\] has directions of 4 and 3 units; a node of ONNX has one size for both$"),
        (lambda: convert.to_onnx(LSTM, ((random_params(GRU),),)), "lstm with 4 units expects"),
    ],
)  # fmt: skip
def test_what_onnx_has_not_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_onnx_the_extra_is_named():
    code = """
import sys
sys.modules["onnx"] = None
import jax, jaxrnn
params = jaxrnn.init_stack(jax.random.key(0), jaxrnn.GRU, 3, 4)
jaxrnn.convert.to_onnx(jaxrnn.GRU, params)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == (
        "ModuleNotFoundError: jaxrnn.convert.to_onnx needs onnx; install it with: "
        "pip install 'jaxrnn[onnx]'"
    )


def test_a_model_is_a_file(tmp_path):
    model = convert.to_onnx(LSTM, stack_of(LSTM, 1, 2))
    onnx.save(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == model
    assert [i.name for i in model.graph.input] == ["xs", "lengths", "h0", "c0"]
    assert [o.name for o in model.graph.output] == ["hs", "h0_last", "c0_last"]
