"""Finds where the gradient goes: d loss / d h_t at every word of reviews, and what changes it.

Each network reads the last words of a review and answers from its last state alone: a mean over
all states would hand every step a gradient of its own and hide what is lost on the way. All
reviews have the same length, so that a step is the same number of words before the end in each.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxrnn
from experiments.config.cli import UserError
from experiments.data.text import Corpus
from experiments.models.classifier import Classifier
from experiments.training.step import cross_entropy
from jaxrnn import diagnose

REVIEWS = 64  # looked at; a median over them is steady to a few percent
BATCH = 64


LENGTH = 200  # words looked at, where enough reviews have them


class Reviews(NamedTuple):
    """Tokens [N, T] and labels [N], each review exactly T words."""

    tokens: np.ndarray
    labels: np.ndarray


class Training(NamedTuple):
    """A trained model, and for each step: loss in nats, norm of the gradient before any clipping,
    and how far the weights then are from where they began.
    """

    model: Classifier
    losses: list[float]
    norms: list[float]
    distances: list[float]


def usual_length(*corpora: Corpus) -> int:
    """As many words as a quarter of the reviews of each corpus have, but no more than `LENGTH`."""
    return min(LENGTH, *(_reached(corpus, len(corpus.lengths) // 4) for corpus in corpora))


def _reached(corpus: Corpus, reviews: int) -> int:
    """The most words that so many reviews have, or as many as are needed; at least 2."""
    longest = np.sort(corpus.lengths)[::-1]
    place = max(reviews, BATCH) - 1
    return max(2, int(longest[place])) if place < len(longest) else 2


def long_reviews(corpus: Corpus, length: int, most: int, seed: int) -> Reviews:
    """At most so many reviews that have `length` words, cut to their last ones, in random order."""
    rows = np.flatnonzero(corpus.lengths >= length)
    if len(rows) < BATCH:
        reviews = "1 review is" if len(rows) == 1 else f"{len(rows)} reviews are"
        few = f"only {reviews} that long, and {BATCH} are needed"
        enough = len(corpus.lengths) >= BATCH
        hint = f": give at most {_reached(corpus, BATCH)}" if enough else ": give other data"
        raise UserError(f"--length is {length}; {few}{hint}")
    rows = np.random.default_rng(seed).permutation(rows)[:most]
    tokens = np.stack([corpus.example(int(row))[-length:] for row in rows]).astype(np.int32)
    return Reviews(tokens, np.asarray(corpus.labels[rows], np.int32))


def fresh(cell: str, vocabulary: int, units: int, seed: int) -> Classifier:
    """An untrained network, of the size that `experiments.imdb` has."""
    sizes: Any = {"vocabulary": vocabulary, "features": 32, "units": units}
    return Classifier(jaxrnn.CELLS[cell], readout="last", rngs=nnx.Rngs(seed), **sizes)


def with_forget_bias(model: Classifier, bias: float) -> Classifier:
    """The same LSTM, but its forget gates begin with another bias."""
    units = _recurrent(model).weights.get_value()[0][0].wh.shape[0]
    forget = slice(units, 2 * units)
    return _changed(model, lambda p: p._replace(bx=p.bx.at[forget].set(bias)))


def with_recurrent_weights(model: Classifier, initializer: Any, seed: int) -> Classifier:
    """The same SimpleRNN, but `wh` drawn by another initialiser."""
    key = jax.random.key(seed)
    return _changed(model, lambda p: p._replace(wh=initializer(key, p.wh.shape)))


def _changed(model: Classifier, change: Callable[[jaxrnn.Params], jaxrnn.Params]) -> Classifier:
    model = nnx.clone(model)
    weights = _recurrent(model).weights
    weights.set_value(tuple(tuple(change(p) for p in layer) for layer in weights.get_value()))
    return model


def _recurrent(model: Classifier) -> Any:
    assert model.recurrent is not None  # `fresh` and `check` have seen to it
    return model.recurrent


def check(model: Any, path: str) -> None:
    """Raise `UserError` where a trained model has no answer from its last state."""
    if not isinstance(model, Classifier):
        raise UserError(f"{path} has several members; give a run of one network")
    if model.recurrent is None or model.embedding is None:
        raise UserError(f"{path} has no recurrent layer; give a run with a cell")
    if model.readout == "mean-max":
        raise UserError(f"{path} reads out mean-max; give a run that reads out last, mean or max")


def losses(model: Classifier, tokens: jax.Array, labels: jax.Array, engine: Any = None) -> Any:
    """Each review's cross-entropy [B], answered from the last state; correct answers [B]."""
    assert model.embedding is not None
    recurrent = _recurrent(model)
    weights, xs = recurrent.weights.get_value(), model.embed(tokens)
    states, _ = jaxrnn.unroll_stack(recurrent.cell, weights, xs, engine=engine)
    last = jnp.concatenate([state.h for state in states[-1]], axis=-1)
    if model.hidden is not None:
        last = jax.nn.relu(model.hidden(last))
    logits = model.dense(last)
    return cross_entropy(logits, labels), (logits[:, 0] > 0) == (labels == 1)


def norms(model: Classifier, reviews: Reviews) -> np.ndarray:
    """||d loss / d h_t|| [N, T] of the uppermost layer, forward direction."""
    graphdef, params = nnx.split(model)
    layers = _recurrent(model).weights.get_value()

    @jax.jit
    def run(params: Any, tokens: jax.Array, labels: jax.Array) -> jax.Array:
        def loss(engine: Any) -> jax.Array:
            return jnp.sum(losses(nnx.merge(graphdef, params), tokens, labels, engine)[0])

        return diagnose.gradient_norms(loss)[-len(layers[-1])].h

    return np.asarray(run(params, reviews.tokens, reviews.labels))


def saturation(model: Classifier, reviews: Reviews) -> dict[str, dict[str, float]]:
    """Shares of saturated activations of the first layer, by gate."""
    assert model.embedding is not None
    recurrent = _recurrent(model)
    xs, weights = model.embed(jnp.asarray(reviews.tokens)), recurrent.weights.get_value()
    gates = diagnose.saturation(recurrent.cell, weights[0][0], xs)
    return {
        gate: {end: float(share) for end, share in shares._asdict().items()}
        for gate, shares in gates.items()
    }


def accuracy(model: Classifier, reviews: Reviews) -> float:
    """The share of reviews that are answered correctly."""
    graphdef, params = nnx.split(model)
    run = jax.jit(lambda p, x, y: jnp.mean(losses(nnx.merge(graphdef, p), x, y)[1]))
    return float(run(params, reviews.tokens, reviews.labels))


def train(model: Classifier, reviews: Reviews, steps: int, seed: int, optimizer: Any) -> Training:
    """So many steps of an `optax` optimizer on batches of 64."""
    graphdef, params = nnx.split(model)
    start = params

    @jax.jit
    def step(params: Any, opt_state: Any, tokens: jax.Array, labels: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.mean(losses(nnx.merge(graphdef, params), tokens, labels)[0])

        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        moved = optax.tree.norm(jax.tree.map(jnp.subtract, params, start))
        return params, opt_state, value, optax.tree.norm(gradient), moved

    opt_state, reports = optimizer.init(params), []
    for rows in _batches(len(reviews.labels), steps, seed):
        batch = reviews.tokens[rows], reviews.labels[rows]
        params, opt_state, *numbers = step(params, opt_state, *batch)
        reports.append(numbers)
    columns = [[float(number) for number in column] for column in zip(*reports, strict=True)]
    return Training(nnx.merge(graphdef, params), *columns)


def _batches(n: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of each step; every review once before any comes again."""
    generator, order = np.random.default_rng(seed), np.zeros(0, np.int64)
    for _ in range(steps):
        if len(order) < BATCH:
            order = generator.permutation(n)
        rows, order = order[:BATCH], order[BATCH:]
        yield rows
