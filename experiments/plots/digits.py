"""Draws what a finished run reads wrongly: `answers.npz` -> `confusion.png`, `mistakes.png`.

Knows neither jax nor the model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.plots.confusion import Confusion, picture
from experiments.plots.style import figure, heading, save
from experiments.runs.directory import RunDir
from experiments.storage import array_cache

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "answers.npz"

# Of `mistakes.png`: more would be too small to look at.
ROWS, COLUMNS = 5, 10


class Answers(NamedTuple):
    """The answers of a run to every test image.

    Attributes:
        labels: int32 [n], the digits.
        probabilities: float32 [n, 10].
        worst: int64 [k], the images of the worst mistakes, the worst first; k <= 50.
        pixels: uint8 [k, 28, 28], these images.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    worst: np.ndarray
    pixels: np.ndarray

    @property
    def read(self) -> np.ndarray:
        """The digits as they were read, int64 [n]."""
        return self.probabilities.argmax(1)


def collect(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> Answers:
    """Find the worst mistakes: those where the right digit got the least probability."""
    right = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    worst = wrong[np.argsort(right[wrong], kind="stable")][: ROWS * COLUMNS]
    return Answers(labels, probabilities, worst, images[worst])


def draw(run_dir: str | Path) -> list[Path]:
    """Write both pictures into a run's directory, from its files alone; their paths.

    Raises:
        UserError: this is no run, or it has no answers yet.
    """
    directory = RunDir(run_dir)
    config, file = directory.config(), directory.path / FILE
    arrays = array_cache.load(file)
    if arrays is None or not arrays.keys() >= set(Answers._fields):
        raise UserError(f"{file} is missing or damaged; it comes with the end of a run of mnist")
    answers = Answers(*(arrays[name] for name in Answers._fields))
    title = " · ".join([*heading(config), _result(answers)])
    pictures = {"confusion.png": confusion, "mistakes.png": mistakes}
    for name, make in pictures.items():
        save(make(answers, title=title), directory.path / name)
    return [directory.path / name for name in pictures]


def _result(answers: Answers) -> str:
    n, wrong = len(answers.labels), int((answers.read != answers.labels).sum())
    return f"test {1 - wrong / n:.2%} ({wrong:,} of {n:,} wrong)"


def confusion(answers: Answers, *, title: str) -> "Figure":
    """How often each digit was read as each other one; only the mistakes are coloured."""
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (answers.labels, answers.read), 1)
    found = Confusion(tuple(map(str, range(10))), counts)
    return picture(found, title=title, unit="images", axes=("read as", "digit"))


def mistakes(answers: Answers, *, title: str) -> "Figure":
    """The worst mistakes as pictures, the worst first, line by line."""
    count = len(answers.worst)
    below = f"the {count} worst: digit → read as (how surely)" if count else "no mistakes"
    made = figure(12, 7.6, f"{title}\n{below}", dpi=110, fontsize=12)
    for k, axes in enumerate(made.subplots(ROWS, COLUMNS).flat):
        axes.set_axis_off()
        if k < count:
            n = answers.worst[k]
            axes.imshow(answers.pixels[k], cmap="gray_r", vmin=0, vmax=255)
            sure = answers.probabilities[n].max()
            axes.set_title(f"{answers.labels[n]} → {answers.read[n]} ({sure:.0%})", fontsize=11)
    return made
