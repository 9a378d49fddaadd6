"""Rebuilds what a run has learned: the trained network, its settings and its vocabulary."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx

from experiments.config import imdb
from experiments.data.text import Vocabulary
from experiments.models.build import shapes
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.runs.restore import classes_of, settings_of
from experiments.runs.seal import check_sealed, names_digest


class Trained(NamedTuple):
    """The best checkpoint of a run.

    Attributes:
        settings: `imdb.Settings` or `mnist.Settings`, as it was trained.
        vocabulary: its words; None for images.
        classes: what its labels are called.
        step: of the checkpoint.
        graphdef, params: the network, for `nnx.merge`.
    """

    settings: Any
    vocabulary: Vocabulary | None
    classes: tuple[str, ...]
    step: int
    graphdef: nnx.GraphDef
    params: Any


def load(directory: RunDir, say: Callable[[str], None]) -> Trained:
    """Read a run's best checkpoint.

    Raises:
        UserError: this is no run with a model, it has no good checkpoint yet, or its files do not
            belong together.
    """
    settings, vocabulary, data = settings_of(directory), None, {}
    if isinstance(settings, imdb.Settings):
        vocabulary = Vocabulary.load(directory.path / VOCABULARY)
        data["vocabulary"] = vocabulary.digest
    classes = classes_of(directory)
    data["classes"] = names_digest(classes)
    size = None if vocabulary is None else vocabulary.size
    graphdef, params = shapes(settings, size, len(classes))
    known = {"settings": directory.config()["settings"], "data": data}
    averaged, checkpoints = settings.training.average > 0, Checkpoints(directory.checkpoints)
    step, best = best_params(checkpoints, params, averaged, known, say)
    return Trained(settings, vocabulary, classes, step, graphdef, best)


def best_params(
    checkpoints: Checkpoints,
    like: Any,
    averaged: bool,
    known: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[int, Any]:
    """Step and parameters of the best checkpoint, in the form of `like`: what is evaluated.

    Args:
        checkpoints: of a run.
        like: arrays or their shapes.
        averaged: whether the run evaluates the moving average of its parameters.
        known: `settings` (flat) and `data` (digests) that the checkpoint must agree with.
        say: gets a line for each checkpoint that is damaged.

    Raises:
        UserError: there is none, or it was saved with other settings or data.
    """
    name = "average" if averaged else "params"
    step, arrays, meta = checkpoints.restore_best({name: like}, say)
    check_sealed(meta, known, checkpoints.directory / str(step))
    return step, arrays[name]
