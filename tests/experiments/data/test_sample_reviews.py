"""The built-in sample: a reader of sentences finds its labels, a bag of words cannot."""

import hashlib
import re
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.data import sample_reviews

TRAIN, TEST = sample_reviews.reviews(0, 4000), sample_reviews.reviews(1, 4000)

POSITIVE = {"gripping", "funny", "moving", "clever", "brilliant", "charming", "superb", "lively"}
NEGATIVE = {"dull", "boring", "clumsy", "stupid", "dreadful", "tedious", "stale", "lifeless"}


def opinions(text: str) -> list[tuple[str, int]]:
    """Who said it, and whether it is praise (1) or blame (0), sentence by sentence."""
    found = []
    for sentence in text.split(". "):
        said = re.search(r"^(.*) that (?:it|the film|the whole thing) was (.*)", sentence)
        if said:
            owner, words = said[1].split(",")[0], ["", "", *re.findall(r"\w+", said[2])]
            signs = set()
            for i, word in enumerate(words):
                if word in POSITIVE | NEGATIVE:
                    denied = words[i - 1] in ("not", "never") or words[i - 2 : i] == [
                        "anything",
                        "but",
                    ]
                    signs.add(int((word in POSITIVE) != denied))
            assert len(signs) == 1, f"one opinion, one sign: {sentence}"
            found.append((owner, *signs))
    assert len(found) == 2, text
    return found


def verdict(text: str) -> int:
    """The label, read from the sentences as a person would."""
    advice = re.search(
        r"my (\w+) is always right|trust my (\w+)|My (\w+) has my taste", text.split(". ")[1]
    )
    counts = "My " + next(filter(None, advice.groups())) if advice else "(I|My own view)"
    signs = [sign for owner, sign in opinions(text) if re.match(rf"{counts}\b", owner)]
    assert len(signs) == 1, text
    return signs[0]


def test_same_arguments_same_reviews_on_every_machine():
    texts, labels = sample_reviews.reviews(0, 200)
    assert (texts, labels) == sample_reviews.reviews(0, 200)
    digest = hashlib.sha256("\n".join([*texts, str(labels)]).encode()).hexdigest()
    assert digest[:16] == "1a0fd11a33506530"


def test_other_seeds_give_other_reviews():
    first, second = set(sample_reviews.reviews(0, 15_000)[0]), set(TEST[0])
    assert len(first) == 15_000, "no review twice"
    assert not first & second, "no test review was trained on"
    assert sample_reviews.reviews(-1, 3) != sample_reviews.reviews(1, 3)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_labels_are_balanced_and_mixed(n: int):
    texts, labels = sample_reviews.reviews(3, n)
    assert len(texts) == len(labels) == n
    assert sum(labels) == (n + 1) // 2
    # In no order: half of the neighbours are alike.
    assert n < 1000 or 0.4 < np.mean([a == b for a, b in pairwise(labels)]) < 0.6


def test_labels_are_what_a_reader_finds():
    for text, label in zip(*TRAIN, strict=True):
        assert verdict(text) == label, text


def test_the_verdict_is_far_from_the_end_and_at_either_place():
    after, first = [], 0
    for text in TRAIN[0]:
        signs = opinions(text)
        first += signs[0][1] == verdict(text) != signs[1][1]
        after.append(len(re.split(r" was (?!on at)", text)[-1].split()))
    assert 0.3 < first / 4000 < 0.4, "of the 70% that disagree, half have the verdict first"
    assert np.mean(after) > 15
    assert max(after) > 40


def test_a_few_hundred_words_and_lengths_of_real_short_reviews():
    words = [re.findall(r"[a-z]+", text.lower()) for text in TRAIN[0]]
    lengths = [len(review) for review in words]
    assert 150 < len({word for review in words for word in review}) < 400
    assert min(lengths) >= 30
    assert max(lengths) <= 150
    assert 60 < np.mean(lengths) < 90
    assert not any(mark in text for text in TRAIN[0] for mark in ("{", "}", "  ", " ,", ",,", ".."))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def pairs(text: str) -> list[str]:
    return [" ".join(pair) for pair in pairwise(words(text))] + words(text)


def linear_accuracy(features: Callable[[str], list[str]]) -> tuple[float, float]:
    """Logistic regression on counts, standardised: accuracy on the training and the test texts."""
    index = {name: i for i, name in enumerate(sorted({f for t in TRAIN[0] for f in features(t)}))}

    def counts(texts: list[str]) -> np.ndarray:
        table = np.zeros((len(texts), len(index)), np.float32)
        for row, text in zip(table, texts, strict=True):
            for name in features(text):
                if name in index:
                    row[index[name]] += 1
        return table

    xs, test = counts(TRAIN[0]), counts(TEST[0])
    mean, scale = xs.mean(0), xs.std(0) + 1e-6
    xs, test, ys = (xs - mean) / scale, (test - mean) / scale, jnp.asarray(TRAIN[1], jnp.float32)

    def loss(w: jax.Array) -> jax.Array:
        entropy = optax.sigmoid_binary_cross_entropy(xs @ w[:-1] + w[-1], ys)
        return jnp.mean(entropy) + 1e-3 * jnp.sum(w**2)

    optimizer = optax.adam(0.01)

    def step(carry, _):
        w, state = carry
        updates, state = optimizer.update(jax.grad(loss)(w), state)
        return (optax.apply_updates(w, updates), state), None

    w = jnp.zeros(len(index) + 1)
    (w, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=200))((w, optimizer.init(w)))
    fitted = ((xs @ w[:-1] + w[-1] > 0) == np.array(TRAIN[1])).mean()
    return float(fitted), float(((test @ w[:-1] + w[-1] > 0) == np.array(TEST[1])).mean())


@pytest.mark.parametrize("features", [words, pairs])
def test_counting_words_or_pairs_of_words_does_not_tell_the_label(features):
    fitted, accuracy = linear_accuracy(features)
    assert fitted > 0.6, "the regression did learn what there is"
    # 0.65 is the ceiling of every model of counts (see the module's docstring), give or take the
    # 0.008 by which 4,000 reviews scatter. Measured: words 0.583, with pairs 0.645.
    assert accuracy < 0.67


def test_exchanging_the_opinions_turns_the_label_over_and_keeps_the_words():
    disagree = 0
    owned = re.compile(r"( that (?:it|the film|the whole thing) was )([^.]*)")
    for text, label in zip(*TRAIN, strict=True):
        (_, first), (_, second) = opinions(text)
        said = [match[2] for match in owned.finditer(text)]
        exchanged = owned.sub(lambda match, said=said: match[1] + said.pop(), text)
        assert sorted(words(exchanged)) == sorted(words(text))
        assert verdict(exchanged) == (label if first == second else 1 - label)
        disagree += first != second
    assert 0.68 < disagree / len(TRAIN[0]) < 0.72
