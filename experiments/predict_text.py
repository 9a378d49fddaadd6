"""The sentiment of a text, from a run of `experiments.imdb`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.cli import UserError
from experiments.imdb import VOCABULARY
from experiments.rundir import RunDir

if TYPE_CHECKING:
    from experiments.text import Vocabulary


class Answer(NamedTuple):
    """What a model says of one text."""

    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.label}  {self.probability:.1%}"


def answer(directory: RunDir, config: dict[str, Any], text: str | None, file: str | None) -> Answer:
    """The answer to a text, to that in a file, or to standard input where both are None.

    Raises:
        UserError: as `classify`; also where there is no text, or it cannot be read.
    """
    from experiments.text import UNKNOWN, Vocabulary

    vocabulary = Vocabulary.load(directory.path / VOCABULARY)
    text = _read(file) if text is None else text
    ids = vocabulary.encode(text)[1:]
    if not len(ids):
        raise UserError("the text has no words; give at least one")
    if (ids == UNKNOWN).all():
        _note("none of its words is in the run's vocabulary; the answer says nothing of them")
    return classify(directory, config, vocabulary, text)


def classify(
    directory: RunDir, config: dict[str, Any], vocabulary: "Vocabulary", text: str
) -> Answer:
    """The answer of the run's best epoch.

    Raises:
        UserError: the run has no checkpoint, a damaged one, or settings that do not fit it.
    """
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from experiments import models
    from experiments.checkpoint import Checkpoints
    from experiments.trained import best_params

    try:
        settings = config["settings"]
        model = models.build(
            settings, features=settings["embedding"], vocabulary=vocabulary.size, classes=1
        )
        most, truncate = settings["max_length"], settings["truncate"]
    except KeyError as missing:
        raise UserError(f"{directory.path}/config.json lacks {missing}") from None
    graphdef, params = nnx.split(model)
    _, best = best_params(Checkpoints(directory.checkpoints), params, settings, _note)
    ids = vocabulary.encode(text)
    ids = ids[-most:] if truncate == "head" else ids[:most]
    trained = nnx.merge(graphdef, best)
    logit = trained(jnp.asarray(ids[None]), jnp.array([len(ids)]))[0, 0]
    positive = float(jax.nn.sigmoid(logit))
    if positive > 0.5:
        return Answer("positive", positive)
    return Answer("negative", 1 - positive)


def _read(file: str | None) -> str:
    try:
        if file is not None:
            return Path(file).read_text(encoding="utf-8")
        if sys.stdin.isatty():
            _note("reading the text from the keyboard; end it with Ctrl-D")
        return sys.stdin.buffer.read().decode("utf-8")
    except OSError as error:
        raise UserError(f"--file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file or 'standard input'} is not UTF-8 text") from None


def _note(line: str) -> None:
    print(line, file=sys.stderr)
