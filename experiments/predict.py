"""Ask a trained run about a text of your own.

python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
python -m experiments.predict runs/imdb-gru-seed0 --file review.txt
echo "Never again." | python -m experiments.predict runs/imdb-gru-seed0
"""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from experiments.cli import UserError, parse, path, run
from experiments.imdb import VOCABULARY
from experiments.rundir import RunDir

if TYPE_CHECKING:
    from experiments.text import Vocabulary


@dataclasses.dataclass(frozen=True)
class Settings:
    """Ask a trained run about a text: from the command line, a file or standard input.

    example: python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run of `experiments.imdb`."""
    text: Annotated[str | None, tyro.conf.Positional, path("standard input", metavar="[TEXT]")] = (
        None
    )
    """The text."""
    file: Annotated[str | None, path("none", metavar="FILE")] = None
    """Read the text from this file, in UTF-8."""


class Answer(NamedTuple):
    """What a model says of one text."""

    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.label}  {self.probability:.1%}"


def main(args: list[str] | None = None) -> None:
    """Answer one question on standard output."""
    settings = parse(Settings, args, prog="python -m experiments.predict")
    from experiments.text import UNKNOWN, Vocabulary

    directory = RunDir(settings.run_dir)
    config = directory.config()
    if config.get("task") != "imdb":
        raise UserError(f"{directory.path} is a run of {config.get('task')}, which reads no text")
    vocabulary = Vocabulary.load(directory.path / VOCABULARY)
    text = _text(settings)
    ids = vocabulary.encode(text)[1:]
    if not len(ids):
        raise UserError("the text has no words; give at least one")
    if (ids == UNKNOWN).all():
        _note("none of its words is in the run's vocabulary; the answer says nothing of them")
    print(classify(directory, config, vocabulary, text))


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

    try:
        settings = config["settings"]
        model = models.build(
            settings, features=settings["embedding"], vocabulary=vocabulary.size, classes=1
        )
        most, truncate = settings["max_length"], settings["truncate"]
    except KeyError as missing:
        raise UserError(f"{directory.path}/config.json lacks {missing}") from None
    graphdef, params = nnx.split(model)
    _, arrays, _ = Checkpoints(directory.checkpoints).restore_best({"params": params}, _note)
    ids = vocabulary.encode(text)
    ids = ids[-most:] if truncate == "head" else ids[:most]
    trained = nnx.merge(graphdef, arrays["params"])
    logit = trained(jnp.asarray(ids[None]), jnp.array([len(ids)]))[0, 0]
    positive = float(jax.nn.sigmoid(logit))
    if positive > 0.5:
        return Answer("positive", positive)
    return Answer("negative", 1 - positive)


def _text(settings: Settings) -> str:
    if settings.text is not None and settings.file is not None:
        raise UserError("--file and a text are both given; give one of them")
    if settings.text is not None:
        return settings.text
    try:
        if settings.file is not None:
            return Path(settings.file).read_text(encoding="utf-8")
        if sys.stdin.isatty():
            _note("reading the text from the keyboard; end it with Ctrl-D")
        return sys.stdin.buffer.read().decode("utf-8")
    except OSError as error:
        raise UserError(f"--file {settings.file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{settings.file or 'standard input'} is not UTF-8 text") from None


def _note(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run(main)
