"""Keras's files as `h5py` opens them, and layers that look alike by their arrays."""

import zipfile

import h5py
import jax
import keras
import numpy as np
import peers
import pytest
from tables import assert_close

import jaxrnn
from jaxrnn import GRU, LSTM, ReLURNN, SimpleRNN, convert

layers = keras.layers
# Of Keras itself, with NumPy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    xs = keras.Input((None, 4))
    hs = layers.LSTM(4, return_sequences=True, recurrent_dropout=0.1)(xs)
    hs = layers.LSTM(3, return_sequences=True)(hs)
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True))(hs)
    stacked = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(3)]))(hs)
    made = keras.Model(xs, [both, stacked, layers.Dense(1)(hs)])
    rng = np.random.default_rng(0)
    for layer in made.layers:
        for variable in layer.weights:
            if variable.dtype == "float32":
                variable.assign(rng.normal(0, 0.5, variable.shape))
    return made


def layer_of(model, kind, number=0):
    return [layer for layer in model.layers if type(layer) is kind][number]


def weights_of(layer):
    """Without the states of its random generators."""
    return [a for a in peers.get_weights(layer) if a.dtype == np.float32]


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.fixture(params=["model.keras", "model.weights.h5"])
def file(model, tmp_path, request):
    path = tmp_path / request.param
    if path.suffix == ".keras":
        model.save(path)
        return h5py.File(zipfile.ZipFile(path).open("model.weights.h5"))
    model.save_weights(path)
    return h5py.File(path)


def test_groups_of_a_file_are_layers(model, file):
    lstms = [weights_of(layer_of(model, layers.LSTM, n)) for n in range(2)]
    expected = convert.from_keras(LSTM, lstms)
    groups = [file["layers/lstm"], file["layers/lstm_1"]]
    assert_same(convert.from_keras(LSTM, groups), expected)
    assert_same(convert.from_keras(LSTM, [file["layers/lstm/cell"], lstms[1]]), expected)
    assert_same(convert.from_keras(LSTM, file["layers/lstm/cell/vars"]), expected[:1])
    both = convert.from_keras(GRU, [file["layers/bidirectional"]])
    assert_same(both, convert.from_keras(GRU, [weights_of(layer_of(model, layers.Bidirectional))]))
    xs = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
    hs = jaxrnn.unroll_stack(GRU, both, jaxrnn.unroll_stack(LSTM, expected, xs)[1])[1]
    assert_close(hs, np.asarray(model(xs)[0]), 1e-5)


def test_cells_on_top_of_each_other_are_layers(model, file):
    xs = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
    below = convert.from_keras(LSTM, [file["layers/lstm"], file["layers/lstm_1"]])
    cells = file["layers/rnn/cell/cells"]
    stack = below + convert.from_keras(LSTM, [cells["lstm_cell"], cells["lstm_cell_1"]])
    states, _ = jaxrnn.unroll_stack(LSTM, stack, xs)
    assert_close(states[-1][0].h, np.asarray(model(xs)[1]), 1e-5)


def test_an_older_file_names_its_arrays(model, tmp_path):
    model.save(tmp_path / "model.h5")
    group = h5py.File(tmp_path / "model.h5")["model_weights"]
    name = layer_of(model, layers.LSTM, 1).name
    expected = convert.from_keras(LSTM, [weights_of(layer_of(model, layers.LSTM, 1))])
    assert_same(convert.from_keras(LSTM, [group[name]]), expected)
    both = layer_of(model, layers.Bidirectional)
    expected = convert.from_keras(GRU, [weights_of(both)])
    assert_same(convert.from_keras(GRU, [group[both.name]]), expected)


def test_bfloat16_in_a_file_stays_bfloat16(tmp_path):
    made = keras.Sequential(
        [keras.Input((None, 4)),
         layers.LSTM(4, dtype="bfloat16", recurrent_initializer="glorot_uniform")]
    )  # fmt: skip
    made.save_weights(tmp_path / "model.weights.h5")
    expected = convert.from_keras(LSTM, [peers.get_weights(made.layers[0])])
    assert expected[0][0].wx.dtype == "bfloat16"
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert_same(convert.from_keras(LSTM, file), expected)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("layers", r'^layer 0 is a group of a file with several recurrent layers or cells; '
         r'give each as a layer of its own, from the input up: '
         r'group\["bidirectional/backward_layer/cell"\], '
         r'group\["bidirectional/forward_layer/cell"\], group\["lstm/cell"\], '
         r'group\["lstm_1/cell"\]'),
        ("layers/rnn", r'several recurrent layers or cells.*: group\["cell/cells/lstm_cell"\], '),
        ("layers/dense", r'^layer 0 is a group of a file with vars in it and no recurrent weights; '
         r'give that of a layer: file\["layers/lstm"\]$'),
    ],
)  # fmt: skip
def test_another_group_is_refused_with_the_places_that_fit(model, file, place, message):
    with pytest.raises(ValueError, match=message):
        convert.from_keras(LSTM, [file[place]])


def test_two_directions_of_equal_sizes_need_the_callers_word():
    """By their shapes the six arrays are those of a `StackedRNNCells` as well."""
    layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    xs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    expected = np.asarray(layer(xs))
    with pytest.raises(ValueError, match="layer 0 may be Bidirectional or the two cells"):
        convert.from_keras(LSTM, [peers.get_weights(layer)])
    stack = convert.from_keras(LSTM, [peers.get_weights(layer)], bidirectional=True)
    assert_close(jaxrnn.unroll_stack(LSTM, stack, xs)[1], expected, 1e-5)


def test_relu_is_the_cell_that_the_caller_names():
    layer = layers.SimpleRNN(4, activation="relu", return_sequences=True)
    xs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    expected = np.asarray(layer(xs))
    hs = {}
    for cell in (ReLURNN, SimpleRNN):
        stack = convert.from_keras(cell, [peers.get_weights(layer)])
        hs[cell.name] = np.asarray(jaxrnn.unroll_stack(cell, stack, xs)[1])
    assert_close(hs["relu_rnn"], expected, 1e-5)
    assert np.max(np.abs(hs["rnn"] - expected)) > 0.01
    assert "Weights do not show `activation`" in convert.from_keras.__doc__[:200]
