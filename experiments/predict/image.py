"""Which digit a picture shows, from a run of `experiments.mnist`."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data.images import SIDE
from experiments.predict import user_image
from experiments.runs.directory import RunDir

if TYPE_CHECKING:
    from experiments.predict.explain import Rows

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


def answer(directory: RunDir, config: dict[str, Any], path: str | None) -> Answer:
    """The answer to the picture in a file, or in standard input where None.

    Raises:
        UserError: as `user_image.load` and `classify`.
    """
    return Answer(classify(directory, config, _asked(path)[None])[0])


def classify(directory: RunDir, config: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Probabilities of the ten digits by the run's best epoch, float32 [n, 10].

    Args:
        directory: of the run.
        config: its settings.
        images: like MNIST's, uint8 [n, 28, 28].

    Raises:
        UserError: the run has no checkpoint, a damaged one, or settings that do not fit it.
    """
    steps, read = _reader(directory, config)
    return read(images, np.full(len(images), steps, np.int32))


def explain(directory: RunDir, config: dict[str, Any], path: str | None) -> "Rows":
    """The answers after each 28th of the steps of what `answer` reads.

    Each is the answer to the image up to there, as a sequence of its own.

    Raises:
        UserError: as `answer`.
    """
    from experiments.predict.explain import Rows

    image = _asked(path)
    steps, read = _reader(directory, config)
    lengths = np.arange(1, SIDE + 1, dtype=np.int32) * (steps // SIDE)
    found = read(np.repeat(image[None], SIDE, axis=0), lengths)
    in_order = config["settings"]["permute"] is None
    return Rows(image, found, "row" if in_order else f"{SIDE} pixels", in_order)


def _asked(path: str | None) -> np.ndarray:
    if path is None and sys.stdin.isatty():
        raise UserError("no picture is given; name a file")
    # Before the model is loaded: a mistake in the picture answers at once.
    return user_image.load(path)


def _reader(
    directory: RunDir, config: dict[str, Any]
) -> tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Steps of an image, and `(images [n, 28, 28], lengths [n]) -> probabilities [n, 10]`.

    Raises:
        UserError: as `classify`.
    """
    import jax
    from flax import nnx

    from experiments.config.mnist import Settings
    from experiments.data.image_batches import Reading
    from experiments.data.images import CLASSES
    from experiments.models import classifier
    from experiments.runs.checkpoint import Checkpoints
    from experiments.runs.load import best_params
    from experiments.runs.restore import settings_of

    try:
        settings = settings_of(directory, config, Settings)
        pixels, permute = settings["pixels"], settings["permute"]
        reading = Reading(pixels or permute is not None, permute)
        steps, features = reading.shape
        graphdef, params = classifier.shapes(
            settings, features=features, vocabulary=None, classes=CLASSES
        )
    except KeyError as missing:
        raise UserError(f"{directory.path}/config.json lacks {missing}") from None
    _, best = best_params(Checkpoints(directory.checkpoints), params, settings, _note)

    @jax.jit
    def probabilities(params: Any, xs: jax.Array, lengths: jax.Array) -> jax.Array:
        return jax.nn.softmax(nnx.merge(graphdef, params)(xs, lengths))

    def read(images: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        # All at once, the states of 10,000 images pixel by pixel would fill the memory.
        parts = [slice(k, k + _AT_ONCE) for k in range(0, len(images), _AT_ONCE)]
        return np.concatenate(
            [np.asarray(probabilities(best, reading(images[p]), lengths[p])) for p in parts]
        )

    return steps, read


def _note(line: str) -> None:
    print(line, file=sys.stderr)
