"""Gives all pictures of the experiments one look, one kind of title and one way to disk."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.plots.fonts import families
from experiments.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito: every kind of eye tells these apart. Rust and navy are their vermilion and
# blue, darkened, so that a line in one of them and a line in sky blue differ in grey, too.
BLACK, ORANGE, SKY, GREEN, BLUE = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, RUST, NAVY = "#D55E00", "#CC79A7", "#B3400E", "#0A3F66"

COLOURS = (BLACK, BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE)  # from dark to light

RING: Mapping[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none"}
NAMES = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}


def figure(width: float, height: float, title: str, dpi: int = 150, **text: Any) -> "Figure":
    """An empty figure of this size in inches, under its title; `text` is for the title."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    layout: Any = made.get_layout_engine()
    layout.set(w_pad=0.1)  # a label that stands beside a panel does not touch it
    # A title may hold any name, and a dollar would begin a formula.
    look = {"fontsize": 13, "fontweight": "bold", "parse_math": False}
    made.suptitle(title, **{**look, "fontfamily": families("DejaVu Sans"), **text})
    return made


def plain(axes: "Axes", grid: Any = "both") -> None:
    """Draw a light grid below everything else, and no box around."""
    axes.grid(axis=grid, color="0.92", zorder=-1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def by_epoch(axes: "Axes") -> None:
    """Make the horizontal axis one of whole epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plain(axes)


def heading(config: Mapping[str, Any]) -> list[str]:
    """What every picture of a run says first: data set and cell, and where it is the sample."""
    settings = config.get("settings", {})
    kind, layers = settings.get("cell"), settings.get("layers", 1)
    cell = f"{NAMES.get(str(kind), kind)}({settings.get('units')})"
    if kind == "none":
        cell = "no recurrence"
    elif layers != 1:
        cell = f"{layers} x {cell}"
    if settings.get("bidirectional"):
        cell = f"bidirectional {cell}"
    sample = ["dataset: sample"] if config.get("dataset") == "sample" else []
    return [config.get("title", ""), cell, *sample]


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG that is there whole or not at all."""
    with replacing(path) as partial, warnings.catch_warnings():
        # A letter that every font lacks is drawn as a box; no reason to print a line for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(partial, format="png", facecolor="white")
