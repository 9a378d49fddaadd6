"""The curves of a run: `metrics.jsonl` -> `curves.png`. Knows neither jax nor the model.

python -m experiments.plot runs/imdb-gru-seed0
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.cli import UserError, parse, run
from experiments.rundir import RunDir, best_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sky blue and a darkened vermilion, after Okabe and Ito: told apart by every kind of eye, and in
# grey by lightness; the lines differ by dash and marker, too.
TRAINING: dict[str, Any] = {"color": "#56B4E9", "linestyle": "--", "marker": "o", "markersize": 4}
VALIDATION: dict[str, Any] = {"color": "#B3400E", "linestyle": "-", "marker": "s", "markersize": 4}
NAMES = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
WITHOUT = "no recurrence"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draw the curves of a run again.

    example: python -m experiments.plot runs/imdb-gru-seed0
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run."""


def draw(run_dir: str | Path) -> Path:
    """Write `curves.png` into a run's directory, from its files alone; the path of the picture.

    Raises:
        UserError: this is no run, it has no rows yet, or a file is damaged.
    """
    directory = RunDir(run_dir)
    rows, config = directory.rows(), directory.config()
    if not rows:
        raise UserError(f"{directory.path} has no metrics.jsonl with a row yet; train an epoch")
    picture = directory.path / "curves.png"
    save(curves(rows, title=title(config, directory.summary(), rows)), picture)
    return picture


def title(
    config: dict[str, Any], summary: dict[str, Any] | None, rows: Sequence[dict[str, Any]]
) -> str:
    """Data set, cell and result: "IMDB sentiment · GRU(32) · best validation accuracy ..."."""
    best = best_row(rows)
    parts = heading(config)
    parts.append(f"best validation accuracy {best['val_accuracy']:.1%} (epoch {best['epoch']})")
    if summary is not None:
        parts.append(f"test {summary['test_accuracy']:.1%}")
    return " · ".join(parts)


def heading(config: dict[str, Any]) -> list[str]:
    """What every picture of a run says first: data set and cell, and where it is the sample."""
    settings = config.get("settings", {})
    cell = f"{NAMES.get(settings.get('cell'), settings.get('cell'))}({settings.get('units')})"
    layers = settings.get("layers", 1)
    if settings.get("cell") == "none":
        cell = WITHOUT
    elif layers > 1:
        cell = f"{layers} x {cell}"
    if settings.get("bidirectional"):
        cell = f"bidirectional {cell}"
    sample = ["dataset: sample"] if config.get("dataset") == "sample" else []
    return [config.get("title", ""), cell, *sample]


def curves(rows: Sequence[dict[str, Any]], *, title: str) -> "Figure":
    """Accuracy and loss side by side, training and validation, the best epoch marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=12.5, fontweight="bold")
    accuracy, loss = figure.subplots(1, 2)
    best = best_row(rows)
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        _line(axes, rows, f"train_{name}", TRAINING, "training")
        _line(axes, rows, f"val_{name}", VALIDATION, "validation")
        axes.axvline(best["epoch"], color="0.55", linewidth=1, linestyle=":", zorder=0)
        axes.plot(
            [best["epoch"]], [best[f"val_{name}"]], marker="o", markersize=12, linestyle="none",
            markerfacecolor="none", markeredgecolor="0.1", markeredgewidth=1.6, label="best epoch",
        )  # fmt: skip
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.6, max(row["epoch"] for row in rows) + 0.4)
        axes.grid(color="0.92", zorder=-1)
        axes.spines[["top", "right"]].set_visible(False)
    accuracy.set_ylabel("accuracy (%)")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    loss.set_ylabel("loss (cross-entropy, nats)")
    accuracy.legend(loc="lower right", frameon=False)
    loss.legend(loc="upper right", frameon=False)
    _label(accuracy, best["epoch"], best["val_accuracy"], f"{best['val_accuracy']:.1%}", rows, -1)
    _label(loss, best["epoch"], best["val_loss"], f"{best['val_loss']:.3f}", rows, 1)
    return figure


def _line(
    axes: "Axes", rows: Sequence[dict[str, Any]], name: str, style: dict[str, Any], label: str
) -> None:
    axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=label, **style)


def _label(
    axes: "Axes", x: float, y: float, text: str, rows: Sequence[dict[str, Any]], side: int
) -> None:
    """The best epoch's value, below (-1) or above (1) its mark, kept inside the picture."""
    right = x > (1 + max(row["epoch"] for row in rows)) / 2
    if math.isfinite(y):
        axes.annotate(
            text, (x, y), xytext=(-10 if right else 10, 20 * side), textcoords="offset points",
            ha="right" if right else "left", va="center", fontsize=11, fontweight="bold",
        )  # fmt: skip


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG whole beside its place and rename it into it."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", facecolor="white")
    os.replace(partial, path)


def main(args: list[str] | None = None) -> None:
    """Draw one run's picture."""
    print(draw(parse(Settings, args, prog="python -m experiments.plot").run_dir))


if __name__ == "__main__":
    run(main)
