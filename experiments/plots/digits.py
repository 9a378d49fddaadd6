"""Draws what a finished run reads wrongly: `answers.npz` -> `confusion.png`, `mistakes.png`.

Knows neither jax nor the model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config.cli import UserError
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
    for name, picture in pictures.items():
        save(picture(answers, title=title), directory.path / name)
    return [directory.path / name for name in pictures]


def _result(answers: Answers) -> str:
    n, wrong = len(answers.labels), int((answers.read != answers.labels).sum())
    return f"test {1 - wrong / n:.2%} ({wrong:,} of {n:,} wrong)"


def confusion(answers: Answers, *, title: str) -> "Figure":
    """How often each digit was read as each other one; only the mistakes are coloured."""
    from matplotlib.ticker import MaxNLocator

    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (answers.labels, answers.read), 1)
    wrong = np.where(np.eye(10, dtype=bool), 0, counts)
    most = max(int(wrong.max()), 1)

    made = figure(9, 7.4, title, dpi=130, fontsize=12)
    axes = made.subplots()
    # The worst is the loudest, and dark in print. The right answers are hundreds: on one scale
    # with the mistakes they would leave them all one colour.
    image = axes.imshow(np.ma.masked_equal(wrong, 0), cmap="OrRd", vmin=0, vmax=most)
    bar = made.colorbar(image, ax=axes, shrink=0.75, pad=0.03)
    bar.set_label("mistakes (images)")
    bar.locator = MaxNLocator(integer=True, min_n_ticks=1)
    bar.update_ticks()
    for (true, read), count in np.ndenumerate(counts):
        if true == read:
            axes.text(read, true, f"{count:,}", ha="center", va="center", color="0.35")
        elif count:
            colour = "white" if count >= 0.5 * most else "black"
            text = axes.text(read, true, f"{count:,}", ha="center", va="center", color=colour)
            text.set_fontweight("bold")
    for true, row in enumerate(counts):
        if row.sum():
            axes.text(9.65, true, f"{row[true] / row.sum():.1%}", va="center", color="0.2")
    axes.text(9.65, -0.75, "right", va="center", color="0.2")
    axes.set(xlabel="read as", ylabel="digit")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(10))
        axis.set_ticks(np.arange(11) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return made


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
