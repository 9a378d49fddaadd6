"""The classifier: readouts over valid steps, dropout by key, padding that has no effect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_models import LENGTHS, classifier, ids
from tables import assert_close, every_cell

import jaxrnn
from experiments.models import classifier as models
from experiments.models import summary

READOUTS = ["last", "mean", "max", "mean-max"]


@every_cell
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_whole_forward_pass_by_hand(cell, readout, bidirectional):
    """Each text alone, without padding, through the library's own stack and NumPy readouts."""
    model = classifier(cell, readout=readout, bidirectional=bidirectional, layers=2)
    logits = model(ids(), LENGTHS)
    table, weights = model.embedding.embedding[...], model.recurrent.weights.get_value()
    for b, n in enumerate(LENGTHS[:3]):
        states, hs = jaxrnn.unroll_stack(cell, weights, table[ids()[b, :n]])
        pooled = {
            "last": np.concatenate([state.h for state in states[-1]]),
            "mean": np.mean(hs, axis=0),
            "max": np.max(hs, axis=0),
            "mean-max": np.concatenate([np.mean(hs, axis=0), np.max(hs, axis=0)]),
        }[readout]
        assert_close(logits[b], pooled @ model.dense.kernel[...] + model.dense.bias[...], 1e-5)
    assert_close(logits[3], model.dense.bias[...])  # length 0: nothing was read


@pytest.mark.parametrize("readout", READOUTS)
def test_padding_changes_neither_logits_nor_gradients(readout):
    graphdef, params = nnx.split(classifier(readout=readout))

    def loss(params, inputs):
        return jnp.sum(nnx.merge(graphdef, params)(inputs, LENGTHS) ** 2)

    padding = jnp.arange(6) >= LENGTHS[:, None]
    padded = jnp.where(padding, 0, ids())
    wider = jnp.pad(padded, ((0, 0), (0, 5)))
    junk = jnp.where(padding, 19, ids())
    expected = jax.value_and_grad(loss)(params, padded)
    for inputs in (wider, junk):
        value, gradient = jax.value_and_grad(loss)(params, inputs)
        assert_close(value, expected[0], 1e-5)
        assert_close(jax.tree.leaves(gradient), jax.tree.leaves(expected[1]), 1e-5)
    # The padding's own row of the embedding learns nothing.
    np.testing.assert_array_equal(expected[1]["embedding"]["embedding"][...][0], 0)


def test_dropout_acts_with_a_key_only_and_is_made_of_it():
    model = classifier(dropout=0.5, layers=2)
    quiet, again = model(ids(), LENGTHS), model(ids(), LENGTHS)
    np.testing.assert_array_equal(quiet, again)
    np.testing.assert_array_equal(quiet, classifier(dropout=0.0, layers=2)(ids(), LENGTHS))
    one, same, two = (model(ids(), LENGTHS, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, quiet)
    np.testing.assert_array_equal(classifier(dropout=0.0)(ids(), LENGTHS, jax.random.key(0)),
                                  classifier(dropout=0.0)(ids(), LENGTHS))  # fmt: skip


def test_embedding_dropout_is_one_mask_for_all_words_of_a_text():
    xs = jnp.ones((3, 7, 400))
    dropped = np.asarray(models._dropout(jax.random.key(0), 0.25, xs, (3, 1, 400)))
    assert (dropped == dropped[:, :1]).all()
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    # 1,200 draws: five standard deviations of the share are 0.06.
    assert abs((dropped[:, 0] == 0).mean() - 0.25) < 0.06
    assert not (dropped[0] == dropped[1]).all()


def test_a_text_loses_the_same_features_of_every_word():
    model, inputs = classifier(dropout=0.5), []
    recurrent = model.recurrent
    model.recurrent = lambda xs, *rest: (inputs.append(xs), recurrent(xs, *rest))[1]
    model(ids(shape=(4, 50)), LENGTHS, jax.random.key(0))
    lost = np.asarray(inputs[0]) == 0
    assert (lost == lost[:, :1]).all()
    assert 0 < lost.mean() < 1


def test_word_dropout_drops_whole_words():
    """With a mean of outputs that copy their input, a dropped word is missing as a whole."""
    model = classifier(word_dropout=0.5, dropout=0.0)
    seen = []
    recurrent = model.recurrent
    model.recurrent = lambda xs, *rest: (seen.append(xs), recurrent(xs, *rest))[1]
    for key in (None, jax.random.key(0)):
        model(ids(shape=(4, 50)), LENGTHS, key)
    quiet, dropped = np.asarray(seen[0]), np.asarray(seen[1])
    gone = (dropped == 0).all(axis=-1)
    # 200 draws: five standard deviations of the share are 0.18.
    assert abs(gone.mean() - 0.5) < 0.18
    assert_close(dropped[~gone], 2 * quiet[~gone])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_summary_counts_what_is_there(bidirectional):
    model = classifier(jaxrnn.LSTM, layers=2, bidirectional=bidirectional)
    rows = summary.summary(model, (6,))
    total = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model)))
    assert sum(row.parameters for row in rows) == summary.count(model) == total
    name = "Bidirectional LSTM(4)" if bidirectional else "LSTM(4)"
    assert [row.name for row in rows] == [
        "Embedding", name, name, "Readout: mean over time", "Dense",
    ]  # fmt: skip


def test_the_tutorials_model_has_as_many_parameters_as_there():
    """Two SimpleRNN layers of 64 on an embedding of 100: 1,018,881, as the tutorial prints."""
    model = models.Classifier(
        jaxrnn.SimpleRNN, vocabulary=10000, features=100, units=64, layers=2, rngs=nnx.Rngs(0)
    )
    assert summary.count(model) == 1_018_881


def test_a_bag_of_words_by_hand():
    """No cell: embedding, mean over the valid words, a hidden layer with ReLU, one logit."""
    model = classifier(None, hidden=3)
    hidden, dense = model.hidden, model.dense
    for b, n in enumerate(LENGTHS[:3]):
        mean = np.mean(model.embedding.embedding[...][ids()[b, :n]], axis=0)
        pooled = np.maximum(mean @ hidden.kernel[...] + hidden.bias[...], 0)
        expected = pooled @ dense.kernel[...] + dense.bias[...]
        assert_close(model(ids(), LENGTHS)[b], expected, 1e-5)
    names = [row.name for row in summary.summary(model, (6,))]
    assert names == ["Embedding", "Readout: mean over time", "Dense, ReLU", "Dense"]
    last = classifier(None, readout="last")
    embedded = last.embedding.embedding[...][ids()[0, 5]]
    assert_close(last(ids(), LENGTHS)[0], last.dense(embedded), 1e-5)


def test_the_pooled_tutorial_has_as_many_parameters_as_there():
    """Embedding of 16, average, dense 16, dense 1: 160,289."""
    model = classifier(None, vocabulary=10000, features=16, hidden=16)
    assert summary.count(model) == 160_289


def test_a_model_without_vocabulary_reads_features():
    model = classifier(vocabulary=None, classes=10)
    assert model(jnp.ones((4, 6, 5)), LENGTHS).shape == (4, 10)
    assert summary.summary(model, (6, 5))[0].name == "GRU(4)"
