"""Asks a run of `experiments.mnist` which digit a picture shows."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data.images import SIDE, Images, as_text
from experiments.predict import user_image
from experiments.predict.table import Row
from experiments.runs.directory import RunDir

if TYPE_CHECKING:
    from experiments.predict.explain import Rows
    from experiments.runs.load import Trained

_AT_ONCE = 500


class Answer(NamedTuple):
    """What a model says of one picture: the probability of each digit, float32 [10]."""

    probabilities: np.ndarray

    @property
    def digit(self) -> int:
        """The most probable one."""
        return int(np.argmax(self.probabilities))

    def __str__(self) -> str:
        bars = [
            f"  {digit}  {p:6.1%}  {'█' * round(40 * p)}".rstrip()
            for digit, p in enumerate(self.probabilities)
        ]
        return "\n".join([f"{self.digit}  {self.probabilities.max():.1%}", *bars])


def answer(directory: RunDir, path: str | None) -> Answer:
    """The answer to the picture in a file, or in standard input for `-` and None.

    Raises:
        UserError: as `user_image.load` and `classify`.
    """
    image = _asked(path)
    found = Answer(classify(directory, image[None])[0])
    if sys.stdout.isatty():
        print("what was read:", as_text(image), sep="\n")
    return found


def answers(directory: RunDir, paths: Sequence[str | None]) -> list[Row]:
    """The answers to several pictures; `UserError` as `answer`."""
    images = np.stack([_asked(path) for path in paths])
    names = [str(digit) for digit in range(10)]
    found = [Answer(row) for row in classify(directory, images)]
    return [
        Row(
            path or "standard input",
            str(one.digit),
            dict(zip(names, one.probabilities.tolist(), strict=True)),
        )
        for path, one in zip(paths, found, strict=True)
    ]


def classify(directory: RunDir, images: np.ndarray) -> np.ndarray:
    """Probabilities of the ten digits by the run's best epoch, float32 [n, 10].

    Args:
        directory: of the run.
        images: like MNIST's, uint8 [n, 28, 28].

    Raises:
        UserError: the run has no checkpoint, a damaged one, or settings that do not fit it.
    """
    steps, read = _reader(_load(directory))
    return read(images, np.full(len(images), steps, np.int32))


def explain(directory: RunDir, path: str | None) -> "Rows":
    """The answers after each 28th of the steps of what `answer` reads.

    Each is the answer to the image up to there, as a sequence of its own.

    Raises:
        UserError: as `answer`.
    """
    from experiments.predict.explain import Rows

    image = _asked(path)
    trained = _load(directory)
    steps, read = _reader(trained)
    lengths = np.arange(1, SIDE + 1, dtype=np.int32) * (steps // SIDE)
    probabilities = read(np.repeat(image[None], SIDE, axis=0), lengths)
    in_order = trained.settings.image.permute is None
    return Rows(image, probabilities, "row" if in_order else f"{SIDE} pixels", in_order)


def draw_answers(directory: RunDir, test: Images) -> list[Path]:
    """Let a finished run read the test images, and draw what it reads wrongly: the pictures."""
    from experiments.plots import digits
    from experiments.storage import array_cache

    probabilities = classify(directory, test.pixels)
    answers = digits.collect(test.pixels, test.labels, probabilities)
    array_cache.save(directory.path / digits.FILE, answers._asdict())
    return digits.draw(directory.path)


def _asked(path: str | None) -> np.ndarray:
    if path in (None, "-") and sys.stdin.isatty():
        raise UserError("no picture is given; name a file")
    # Before the model is loaded: a mistake in the picture answers at once.
    return user_image.load(path, lambda line: print(line, file=sys.stderr))


def _load(directory: RunDir) -> "Trained":
    from experiments.runs.load import load

    return load(directory, lambda line: print(line, file=sys.stderr))


def _reader(trained: "Trained") -> tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Steps of an image, and `(images [n, 28, 28], lengths [n]) -> probabilities [n, 10]`."""
    import jax
    from flax import nnx

    from experiments.models.build import reading

    as_sequence = reading(trained.settings)

    @jax.jit
    def probabilities(params: nnx.State, xs: jax.Array, lengths: jax.Array) -> jax.Array:
        return jax.nn.softmax(nnx.merge(trained.graphdef, params)(xs, lengths))

    def read(images: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        # All at once, the states of 10,000 images pixel by pixel would fill the memory.
        parts = [slice(k, k + _AT_ONCE) for k in range(0, len(images), _AT_ONCE)]
        return np.concatenate(
            [
                np.asarray(probabilities(trained.params, as_sequence(images[p]), lengths[p]))
                for p in parts
            ]
        )

    return as_sequence.shape[0], read
