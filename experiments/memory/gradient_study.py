"""Compares networks for `experiments.memory gradients`: rows for the picture and other programs.

Five studies, each row with its `study` and `label`:

    cells        each cell, untrained and trained
    forget       an untrained LSTM, by the bias of its forget gate
    matrix       an untrained SimpleRNN, by the initialiser of its recurrent matrix
    clipping     one SimpleRNN, trained with and without: gradient and path of the weights
    saturation   the gates of the networks of the first study

In the first three, `median`, `low` and `high` (the 10th and 90th percentile of the reviews) are
lists over the distance from the end, 0 first: ||d loss / d h|| as a multiple of what it is there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import nnx
from jax.nn.initializers import glorot_uniform, orthogonal

from experiments.config.cli import UserError
from experiments.data.reviews import TextData
from experiments.memory import gradients
from experiments.memory.gradients import REVIEWS, Reviews
from experiments.models.build import network
from experiments.models.classifier import Classifier
from experiments.plots.style import NAMES
from experiments.runs.directory import RunDir
from experiments.runs.load import load

Row = dict[str, Any]
Say = Callable[[str], None]

FORGET_BIASES = (0.0, 1.0, 3.0)
# The factors are those of the matrix alone: the tanh shrinks further, more so for large inputs.
MATRICES: Mapping[str, Any] = {
    "orthogonal x 2": orthogonal(2.0),
    "orthogonal x 1.5": orthogonal(1.5),
    "orthogonal": orthogonal(),
    "Glorot uniform": glorot_uniform(),
    "orthogonal x 0.5": orthogonal(0.5),
}
EXPLODING = "orthogonal x 1.5"
CLIP, ADAM_RATE = 1.0, 0.003
# Plain steps, as Adam divides every gradient by its usual size and so hides what clipping does.
SGD_RATE = 0.1
TRAINING, ACCURACY = 20_000, 1000  # reviews, at most


class Study(NamedTuple):
    """The data and the sizes of a study.

    Attributes:
        text: the reviews, as ids below `words`.
        runs: directories of finished runs; networks are trained here if there are none.
        length: words of each review.
        steps: of each training here.
        units: of each network made here.
        seed: of the first weights, of the reviews and their order.
    """

    text: TextData
    words: int
    runs: Sequence[str]
    length: int
    steps: int
    units: int
    seed: int


class Pair(NamedTuple):
    """A network as it was drawn and as it was trained, with its name for people."""

    label: str
    cell: str
    untrained: Classifier
    trained: Classifier


def rows(study: Study, say: Say) -> Iterator[Row]:
    """All studies, each row as soon as it is there."""
    text, words, runs, length, steps, units, seed = study
    train = gradients.long_reviews(text.train, length, TRAINING, seed)
    test = gradients.long_reviews(text.test, length, ACCURACY, seed)
    shown, size = Reviews(test.tokens[:REVIEWS], test.labels[:REVIEWS]), text.vocabulary.size

    adam = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(ADAM_RATE))

    def fresh(cell: str) -> Classifier:
        return gradients.fresh(cell, size, units, seed)

    def train_here(cell: str) -> Pair:
        model = fresh(cell)
        trained = gradients.train(model, train, steps, seed, adam).model
        return Pair(NAMES[cell], cell, model, trained)

    # All runs are read before the first row: where one cannot be used, nothing is written.
    given = [trained_run(path, text, words, say) for path in runs]
    say(
        "of each gate, how many activations are within 0.05 of its lowest and of its highest value,"
    )
    say("where it is as good as constant and passes no gradient (saturated):")
    for label, cell, untrained, trained in given or map(train_here, NAMES):
        for state, model in (("untrained", untrained), ("trained", trained)):
            right = gradients.accuracy(model, test)
            about = {"label": label, "cell": cell, "state": state}
            yield {"study": "cells", **about, "accuracy": right, **_curve(model, shown)}
            gates = gradients.saturation(model, shown)
            yield {"study": "saturation", **about, "gates": gates}
            shares = [f"{gate} {x['low']:.1%} {x['high']:.1%}" for gate, x in gates.items()]
            say(f"{label:<10} {state:<9}  test accuracy {right:.1%}  {'  '.join(shares)}")
    lstm, rnn = fresh("lstm"), fresh("rnn")
    for bias in FORGET_BIASES:
        curve = _curve(gradients.with_forget_bias(lstm, bias), shown)
        yield {"study": "forget", "label": f"forget bias {bias:g}", **curve}
    for label, initializer in MATRICES.items():
        changed = gradients.with_recurrent_weights(rnn, initializer, seed)
        yield {"study": "matrix", "label": label, **_curve(changed, shown)}
    explosive = gradients.with_recurrent_weights(rnn, MATRICES[EXPLODING], seed)
    for clip in (None, CLIP):
        clipping = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
        sgd = optax.chain(clipping, optax.sgd(SGD_RATE))
        training = gradients.train(explosive, train, steps, seed, sgd)
        label = "without clipping" if clip is None else f"clipped at {clip:g}"
        say(
            f"SimpleRNN, {EXPLODING}, {label}: largest gradient {max(training.norms):,.0f}, "
            f"weights moved by {training.distances[-1]:,.1f}"
        )
        numbers = {name: getattr(training, name) for name in ("losses", "norms", "distances")}
        yield {"study": "clipping", "label": label, "clip": clip, **numbers}


def trained_run(path: str, text: TextData, words: int, say: Say) -> Pair:
    """The network of a run of the IMDB command.

    Raises:
        UserError: this is no such run, or it read other words, or has no fitting network.
    """
    directory = RunDir(path)
    config = directory.config()
    if config.get("task") != "imdb" or config.get("dataset") != text.dataset:
        about = [str(config[key]) for key in ("task", "dataset") if config.get(key)]
        found = " on ".join(about) or "something else"
        raise UserError(f"{path} is a run of {found}; give a run of imdb on {text.dataset}")
    run = load(directory, say)
    settings = run.settings
    if settings.text.vocabulary != words:
        raise UserError(f"{path} has --vocabulary {settings.text.vocabulary}; give one of {words}")
    if run.vocabulary != text.vocabulary:
        raise UserError(f"{path} has read other words than these reviews have; give another run")
    untrained = network(settings, text.vocabulary.size)
    gradients.check(untrained, path)
    model = settings.model
    layers = f"{model.layers} x " if model.layers > 1 else ""
    label = f"{layers}{NAMES.get(model.cell)}({model.units})"
    return Pair(label, model.cell, untrained, nnx.merge(run.graphdef, run.params))


def _curve(model: Classifier, reviews: Reviews) -> Row:
    """Percentiles over the reviews, by distance from the end, relative to the end."""
    norms = gradients.norms(model, reviews)[:, ::-1].astype(np.float64)
    norms = norms[norms[:, 0] > 0]  # a review answered with certainty has no gradient at all
    # JSON has no infinity; beyond float32 a norm is as large as it can be.
    relative = np.nan_to_num(norms / norms[:, :1], posinf=float(np.finfo(np.float32).max))
    low, median, high = np.percentile(relative, (10, 50, 90), axis=0)
    return {"median": median.tolist(), "low": low.tolist(), "high": high.tolist()}
