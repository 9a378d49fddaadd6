"""How an answer came about, as a picture. Knows neither jax nor the model."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.plots.style import heading, save
from experiments.predict.explain import LEVELS, Rows, Words, colour, level, marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI = 11.0, 150
# More words would be a poster; the curve has all of them.
MOST_WORDS = 500
# Of a fixed-width font of this size: all letters are this wide, in inches.
_SIZE = 11.0
_LETTER = 0.602 * _SIZE / 72
_COLUMNS = int((WIDTH - 0.6) / _LETTER)
_LINE = 0.27
# So many changes have their word written at the curve.
_NAMED = 7


def draw(found: Words | Rows, config: dict[str, Any], to: Path) -> None:
    """Write the picture of a text's or an image's answers."""
    figure = words(found, config) if isinstance(found, Words) else rows(found, config)
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; no reason to print a line for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        save(figure, to)


def words(found: Words, config: dict[str, Any]) -> "Figure":
    """The text on coloured ground, and below it the probability after each word."""
    from matplotlib.figure import Figure

    shown = min(len(found.words), MOST_WORDS)
    places = _layout(found, len(found.words) - shown)
    notes = _notes(found, shown)
    above = _LINE * (places[-1][1] + 1) + 0.5 + 0.26 * len(notes)  # the text and its legend
    height = 0.85 + above + 3.1
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    title = " · ".join([*heading(config), found.answer()])
    figure.suptitle(title, fontsize=13, fontweight="bold", y=1 - 0.22 / height, va="center")
    text = figure.add_axes((0, 1 - (0.5 + above) / height, 1, above / height))
    _write(text, found, places, above, notes)
    curve = figure.add_axes((0.85 / WIDTH, 0.6 / height, 1 - 1.1 / WIDTH, 2.6 / height))
    _curve(curve, found)
    return figure


def _notes(found: Words, shown: int) -> list[str]:
    """What else there is to know, a line each."""
    lines = [
        "(word): not in the vocabulary" if not found.known.all() else "",
        f"only the last {shown:,} of {len(found.words):,} words are written here"
        if shown < len(found.words) else "",
        f"the last answer does not see {found.cut:,} words: the run cuts long texts"
        if found.cut else "",
    ]  # fmt: skip
    return [line for line in lines if line]


def _layout(found: Words, first: int) -> list[tuple[int, int, float]]:
    """(word, line, column) of each word from `first` on, lines filled like a typewriter's."""
    places, line, column = [], 0, 0.0
    for n in range(first, len(found.words)):
        width = _width(found, n)
        if column and column + width > _COLUMNS:
            line, column = line + 1, 0.0
        places.append((n, line, column))
        column += width + 1
    return places


def _shown(found: Words, n: int) -> str:
    """A word as it is written; one that no line has room for is cut."""
    longest = _COLUMNS - 8
    word = found.words[n] if len(found.words[n]) <= longest else f"{found.words[n][:longest]}…"
    return word if found.known[n] else f"({word})"


def _width(found: Words, n: int) -> float:
    """In letters; signs are smaller than letters."""
    return len(_shown(found, n)) + 0.7 * abs(level(found.changes[n])) + 0.5


def _write(
    axes: "Axes",
    found: Words,
    places: list[tuple[int, int, float]],
    height: float,
    notes: list[str],
) -> None:
    """The words in inches from above, and the legend below them."""
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    for n, line, column in places:
        of = level(found.changes[n])
        _word(axes, 0.3 + _LETTER * column, _LINE * (line + 0.5), _shown(found, n), of,
              _LETTER * _width(found, n))  # fmt: skip
    x, y = 0.3, height - 0.14 - 0.26 * len(notes)
    for name, sign in (("towards positive", 1), ("towards negative", -1)):
        axes.text(x, y, name, va="center", fontsize=10, color="0.3")
        x += 1.25
        for of in (1, 2, 3):
            word = f"{LEVELS[of - 1]:g}"
            width = _LETTER * (len(word) + 0.7 * of + 0.5)
            _word(axes, x, y, word, sign * of, width)
            x += width + 0.08
        x += 0.12
    axes.text(x, y, "or more, in log-odds", va="center", fontsize=10, color="0.3")
    for n, note in enumerate(notes, 1):
        axes.text(0.3, y + 0.26 * n, note, va="center", fontsize=10, color="0.3")


def _word(axes: "Axes", x: float, y: float, word: str, of: int, width: float) -> None:
    """A word with its signs, on the ground of its level."""
    from matplotlib.patches import Rectangle

    ground = colour(of)
    if ground is not None:
        axes.add_patch(Rectangle((x, y - 0.11), width, 0.22, facecolor=ground, edgecolor="none"))
    x += 0.25 * _LETTER
    shade = "0.45" if word.startswith("(") else "black"
    font: dict[str, Any] = {"family": "DejaVu Sans Mono", "va": "center_baseline"}
    # As it stands: a dollar would begin a formula.
    axes.text(x, y, word, fontsize=_SIZE, color=shade, parse_math=False, **font)
    if of:
        axes.text(x + _LETTER * len(word), y - 0.035, marks(of), fontsize=0.7 * _SIZE,
                  fontweight="bold", **font)  # fmt: skip


def _curve(axes: "Axes", found: Words) -> None:
    """Probability of "positive" over the words, the strongest changes named."""
    from matplotlib.patheffects import withStroke

    p, n = 100 * found.probabilities, len(found.words)
    axes.axhline(50, color="0.45", linewidth=1.2, linestyle="--", zorder=1)
    axes.plot(range(n + 1), p, color="#0A3F66", linewidth=1.8, marker="o" if n <= 80 else None,
              markersize=3.5)  # fmt: skip
    axes.plot([n], [p[-1]], marker="o", markersize=9, color="#B3400E", zorder=5)
    for k in _strongest(found):
        # Above, on the side that the curve comes not from; near an edge on the other, and below.
        right = bool(found.changes[k] < 0)
        turned = k > 0.85 * n if right else k < 0.12 * n
        down = turned and p[k + 1] > 12
        axes.annotate(
            f"{found.words[k][:16]} {marks(level(found.changes[k]))}", (k + 1, p[k + 1]),
            xytext=(5 if right != turned else -5, -12 if down else 11), va="center", fontsize=10,
            textcoords="offset points", ha="left" if right != turned else "right",
            parse_math=False, path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    axes.set(xlim=(-0.01 * n, 1.01 * n), ylim=(-12, 112), yticks=(0, 25, 50, 75, 100))
    axes.set_xlabel("words read", fontsize=11)
    axes.set_ylabel("probability of positive (%)", fontsize=11)
    axes.grid(color="0.92", zorder=-1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _strongest(found: Words) -> list[int]:
    """The words that changed the log-odds most, none of them near a stronger one."""
    changes = np.abs(found.changes)
    chosen: list[int] = []
    for k in np.argsort(-changes, kind="stable").tolist():
        if len(chosen) == _NAMED or level(changes[k]) == 0:
            break
        if all(abs(k - other) > len(changes) / 12 for other in chosen):
            chosen.append(k)
    return chosen


def rows(found: Rows, config: dict[str, Any]) -> "Figure":
    """The image, and beside each of its rows the probabilities of the digits after it."""
    from matplotlib.figure import Figure

    height = 5.9
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    title = " · ".join([*heading(config), f"answer {found.answer()}"])
    figure.suptitle(title, fontsize=13, fontweight="bold", y=1 - 0.28 / height, va="center")

    def place(left: float, width: float) -> "Axes":
        return figure.add_axes((left / WIDTH, 0.65 / height, width / WIDTH, 4.3 / height))

    image, answers, key = place(0.55, 4.3), place(5.55, 4.5), place(10.2, 0.14)
    image.imshow(found.image, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
    image.set_title("what the network reads", fontsize=11)
    image.set_xticks([])
    # White is nothing and dark is all, in grey too; yellow to blue would shout at the zeros.
    drawn = answers.imshow(100 * found.probabilities, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for n, digit in enumerate(found.probabilities.argmax(1)):
        share = found.probabilities[n, digit]
        answers.text(
            digit, n, f"{share:.0%}", ha="center", va="center_baseline", fontsize=8,
            color="white" if share > 0.55 else "black",
        )  # fmt: skip
    answers.set_title(f"answer after each {found.unit}, the likeliest in figures", fontsize=11)
    answers.set_xticks(range(10))
    answers.set_xlabel("digit", fontsize=11)
    answers.set_xticks(np.arange(1, 10) - 0.5, minor=True)
    answers.grid(which="minor", axis="x", color="0.9", linewidth=0.7)
    ticks, per = range(3, 28, 4), 1 if found.in_order else 28
    answers.set_yticks(ticks, [f"{per * (n + 1)}" for n in ticks])
    answers.set_ylabel("rows read" if found.in_order else "pixels read", fontsize=11)
    # Beside each other, a row of the image and the answer after it; pixels from everywhere have
    # no place of their own.
    image.set_yticks(ticks if found.in_order else [], [f"{n + 1}" for n in ticks if found.in_order])
    for axes in (image, answers):
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_color("0.7")
    figure.colorbar(drawn, cax=key).set_label("probability (%)", fontsize=10)
    return figure
