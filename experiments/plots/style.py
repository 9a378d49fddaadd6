"""Gives all pictures of the experiments one look, one kind of title and one way to disk."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.plots.fonts import NOTE, families, lacking, readable
from experiments.storage.files import replacing
from experiments.storage.quiet import quiet

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
    how: dict[str, Any] = {"bbox_inches": "tight"} if _note(figure) else {}
    # That a font of Chinese has no bold letters is no matter either.
    quietly = quiet("matplotlib.font_manager")
    with replacing(path) as partial, quietly, warnings.catch_warnings():
        # A letter that every font lacks is drawn as a box; no reason to print a line for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(partial, format="png", facecolor="white", **how)


def _note(figure: "Figure") -> bool:
    """Give each text all fonts; whether letters are lacking even so, which is noted below."""
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
    for text in texts:
        text.set_fontfamily(readable(text.get_fontfamily()))
    if any(text.get_text() == NOTE for text in texts):
        return False
    is_lacking = any(lacking(text.get_text(), text.get_fontfamily()) for text in texts)
    if is_lacking:
        figure.text(0.01, -0.01, NOTE, va="top", fontsize=9, color="0.3")
    return is_lacking
