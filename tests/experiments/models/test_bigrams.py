"""Word pairs: the rows they share, and what they add to the words' features."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_models import LENGTHS, classifier, ids
from tables import assert_close

from experiments.config.cli import parse
from experiments.config.imdb import Settings
from experiments.models import ensemble
from experiments.models.bigrams import row
from experiments.models.build import network


def mix(bits):
    """MurmurHash3's finalizer, on Python's own integers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ bits >> shift) * factor % 2**32
    return bits ^ bits >> 16


@pytest.mark.parametrize("rows", [1, 7, 1000, 10**8])
def test_rows_are_those_of_the_hash(rows):
    texts = np.random.default_rng(0).integers(0, 10**6, (3, 50))
    pairs = [[(0, text[0]), *itertools.pairwise(text)] for text in texts.tolist()]
    expected = [[mix(mix(before) ^ word) % rows for before, word in text] for text in pairs]
    np.testing.assert_array_equal(row(jnp.asarray(texts, jnp.int32), rows), expected)


def test_pairs_are_spread_evenly():
    """Balls into bins: of as many pairs as rows, 1 - 1/e of the rows get one."""
    words = np.stack(np.meshgrid(range(300), range(300)), -1).reshape(-1, 2)
    found = row(jnp.asarray(words, jnp.int32), len(words))[:, 1]
    # A share of 90,000 rows: five standard deviations are 0.005.
    assert abs(len(np.unique(found)) / len(words) - (1 - np.exp(-1))) < 0.005


def with_pairs(**options):
    model = classifier(bigrams=50, **options)
    table = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    model.bigrams.table.embedding[...] = jnp.asarray(table)
    return model, table


def test_features_are_those_of_words_and_of_pairs():
    model, table = with_pairs()
    expected = model.embedding.embedding[...][ids()] + table[row(ids(), 50)]
    assert_close(model.embed(ids()), expected)
    # A model whose table is still zero says what the model without one says.
    fresh, without = classifier(bigrams=50), classifier()
    np.testing.assert_array_equal(fresh(ids(), LENGTHS), without(ids(), LENGTHS))
    assert not np.allclose(model(ids(), LENGTHS), without(ids(), LENGTHS))


def test_a_text_is_the_same_alone_and_padded():
    model, _ = with_pairs()
    together = model(ids(), LENGTHS)
    for n, length in enumerate(LENGTHS[:3]):
        alone = model(ids()[n : n + 1, :length], LENGTHS[n : n + 1])
        assert_close(together[n], alone[0], 1e-5)


def test_words_and_pairs_are_dropped_each_by_itself():
    model, table = with_pairs(word_dropout=0.25, dropout=0.5)
    long = ids(shape=(4, 100))
    dropped = np.asarray(model.embed(long, jax.random.key(0)))
    words = np.asarray(model.embedding.embedding[...])[long] / 0.75
    pairs = table[row(long, 50)] / 0.5
    choices = np.stack([0 * words, words, pairs, words + pairs])
    nearest = np.abs(choices - dropped).max(-1)
    assert_close(nearest.min(0), np.zeros((4, 100)), 1e-5)
    shares = np.bincount(nearest.argmin(0).ravel(), minlength=4) / 400
    # 400 draws: five standard deviations of a share are at most 0.12.
    assert np.abs(shares - [0.125, 0.375, 0.125, 0.375]).max() < 0.12


def test_only_pairs_that_were_seen_learn():
    graphdef, params = nnx.split(classifier(bigrams=50))
    gradient = jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p)(ids(), LENGTHS)))(params)
    moved = np.abs(gradient["bigrams"]["table"]["embedding"][...]).sum(-1) > 0
    valid = np.arange(6) < LENGTHS[:, None]
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(row(ids(), 50)[valid]))


@pytest.mark.parametrize(("members", "have"), [(1, [True]), (3, [True, False, True])])
def test_every_other_member_has_pairs(members, have):
    model = network(parse(Settings, ["--bigrams", "50", "--members", str(members)]), 20)
    assert [member.bigrams is not None for member in ensemble.members(model)] == have
