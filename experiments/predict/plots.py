"""Draws how an answer came about. Knows neither jax nor the model."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from rich.cells import cell_len, set_cell_size

from experiments.plots.fonts import NOTE, families, lacking
from experiments.plots.style import NAVY, RUST, figure, heading, plain, save
from experiments.predict.explain import LEVELS, Rows, Words, colour, level, marks

WIDTH = 11.0
# More words would be a poster; the curve has all of them.
MOST_WORDS = 500
# A fixed-width font of this size: all letters are this wide, in inches.
MONO = "DejaVu Sans Mono"
_SIZE = 11.0
_LETTER = 0.602 * _SIZE / 72
_COLUMNS = int((WIDTH - 0.6) / _LETTER)
_LINE = 0.27
# So many changes have their word written at the curve.
_NAMED = 7

Place = tuple[int, int, float]


def draw(answers: Words | Rows, config: dict[str, Any], to: Path) -> None:
    """Write the picture of a text's or an image's answers."""
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; no reason to print a line for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        save(words(answers, config) if isinstance(answers, Words) else rows(answers, config), to)


def _figure(height: float, parts: list[str], down: float) -> Figure:
    """An empty figure whose parts are placed by hand, its title so many inches below the edge."""
    made = figure(WIDTH, height, " · ".join(parts), y=1 - down / height, va="center")
    made.set_layout_engine("none")
    return made


def words(answers: Words, config: dict[str, Any]) -> Figure:
    """The text on coloured ground, and below it the probability after each word."""
    shown = min(len(answers.words), MOST_WORDS)
    places = _layout(answers, len(answers.words) - shown)
    notes = _notes(answers, shown)
    above = _LINE * (places[-1][1] + 1) + 0.5 + 0.26 * len(notes)  # the text and its legend
    height = 0.85 + above + 3.1
    made = _figure(height, [*heading(config), answers.answer()], 0.22)
    text = made.add_axes((0, 1 - (0.5 + above) / height, 1, above / height))
    _write(text, answers, places, above, notes)
    _curve(made.add_axes((0.85 / WIDTH, 0.6 / height, 1 - 1.1 / WIDTH, 2.6 / height)), answers)
    return made


def _notes(answers: Words, shown: int) -> list[str]:
    """What else there is to know, a line each."""
    notes, count = [], len(answers.words)
    if lacking("".join(answers.words), families(MONO)):
        notes.append(NOTE)
    if not answers.known.all():
        notes.append("(word): not in the vocabulary")
    if shown < count:
        notes.append(f"only the last {shown:,} of {count:,} words are written here")
    if answers.cut:
        notes.append(f"the last answer does not see {answers.cut:,} words: the run cuts long texts")
    return notes


def _layout(answers: Words, first: int) -> list[Place]:
    """(word, line, column) of each word from `first` on, lines filled like a typewriter's."""
    places, line, column = [], 0, 0.0
    for n in range(first, len(answers.words)):
        width = _width(answers, n)
        if column and column + width > _COLUMNS:
            line, column = line + 1, 0.0
        places.append((n, line, column))
        column += width + 1
    return places


def _shown(answers: Words, n: int) -> str:
    """A word as it is written; one that no line has room for is cut."""
    word, longest = answers.words[n], _COLUMNS - 8
    word = word if cell_len(word) <= longest else f"{set_cell_size(word, longest).rstrip()}…"
    return word if answers.known[n] else f"({word})"


def _short(name: str) -> str:
    """A class's name, which may be anything, where there is room for a few words only."""
    return name if len(name) <= 28 else f"{name[:28]}…"


def _width(answers: Words, n: int) -> float:
    """In letters, of which Chinese ones are two wide; signs are smaller than letters."""
    return _columns(_shown(answers, n)) + 0.7 * abs(level(answers.changes[n])) + 0.5


def _columns(word: str) -> int:
    """Of letters; the box of one that no font has is as wide as a Chinese one."""
    if word.isascii():
        return cell_len(word)
    boxes = set(lacking(word, families(MONO)))
    return sum(2 if letter in boxes else cell_len(letter) for letter in word)


def _write(
    axes: Axes, answers: Words, places: list[Place], height: float, notes: list[str]
) -> None:
    """The words in inches from above, and the legend below them."""
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    for n, line, column in places:
        at = (0.3 + _LETTER * column, _LINE * (line + 0.5))
        word, width = _shown(answers, n), _LETTER * _width(answers, n)
        _word(axes, at, word, level(answers.changes[n]), width)
    x, y = 0.3, height - 0.14 - 0.26 * len(notes)
    small: dict[str, Any] = {"va": "center", "fontsize": 10, "color": "0.3"}
    for direction, sign in zip(answers.directions, (1, -1), strict=True):
        direction = _short(direction)
        axes.text(x, y, direction, parse_math=False, **small)
        # A dollar would begin a formula here, too.
        x += TextPath((0, 0), direction.replace("$", r"\$"), size=10).get_extents().width / 72
        x += 0.15
        for rank, least in enumerate(LEVELS, 1):
            width = _LETTER * (len(f"{least:g}") + 0.7 * rank + 0.5)
            _word(axes, (x, y), f"{least:g}", sign * rank, width)
            x += width + 0.08
        x += 0.12
    axes.text(x, y, "or more, in log-odds", **small)
    for n, note in enumerate(notes, 1):
        axes.text(0.3, y + 0.26 * n, note, **small)


def _word(axes: Axes, at: tuple[float, float], word: str, rank: int, width: float) -> None:
    """A word with its signs, on the ground of its level."""
    (x, y), ground = at, colour(rank)
    if ground is not None:
        axes.add_patch(Rectangle((x, y - 0.11), width, 0.22, facecolor=ground, edgecolor="none"))
    x += 0.25 * _LETTER
    shade = "0.45" if word.startswith("(") else "black"
    font: dict[str, Any] = {"family": families(MONO), "va": "center_baseline"}
    # As it stands: a dollar would begin a formula.
    axes.text(x, y, word, fontsize=_SIZE, color=shade, parse_math=False, **font)
    if rank:
        font |= {"fontsize": 0.7 * _SIZE, "fontweight": "bold"}
        axes.text(x + _LETTER * _columns(word), y - 0.035, marks(rank), **font)


def _curve(axes: Axes, answers: Words) -> None:
    """Probability of a class over the words, the strongest changes named."""
    p, n = 100 * answers.probabilities, len(answers.words)
    dot = "o" if n <= 80 else None
    if answers.other is not None:  # of several classes the likeliest may have less
        axes.axhline(50, color="0.45", linewidth=1.2, linestyle="--", zorder=1)
    axes.plot(range(n + 1), p, color=NAVY, linewidth=1.8, marker=dot, markersize=3.5)
    axes.plot([n], [p[-1]], marker="o", markersize=9, color=RUST, zorder=5)
    style: dict[str, Any] = {"va": "center", "fontsize": 10, "textcoords": "offset points"}
    style |= {"path_effects": [withStroke(linewidth=3, foreground="white")], "parse_math": False}
    for k in _strongest(answers):
        # Above, on the side that the curve does not come from; near an edge on the other, below.
        right = bool(answers.changes[k] < 0)
        turned = k > 0.85 * n if right else k < 0.12 * n
        text = f"{answers.words[k][:16]} {marks(level(answers.changes[k]))}"
        side, away = ("left", 5) if right != turned else ("right", -5)
        up = -12 if turned and p[k + 1] > 12 else 11
        style["family"] = families("DejaVu Sans")
        axes.annotate(text, (k + 1, p[k + 1]), xytext=(away, up), ha=side, **style)
    axes.set(xlim=(-0.01 * n, 1.01 * n), ylim=(-12, 112), yticks=(0, 25, 50, 75, 100))
    axes.set_xlabel("words read", fontsize=11)
    label = f"probability of {_short(answers.shown)} (%)"
    axes.set_ylabel(label, fontsize=11, parse_math=False)
    plain(axes)


def _strongest(answers: Words) -> list[int]:
    """The words that changed the log-odds most, none of them near a stronger one."""
    changes = np.abs(answers.changes)
    chosen: list[int] = []
    for k in np.argsort(-changes, kind="stable").tolist():
        if len(chosen) == _NAMED or level(changes[k]) == 0:
            break
        if all(abs(k - other) > len(changes) / 12 for other in chosen):
            chosen.append(k)
    return chosen


def rows(answers: Rows, config: dict[str, Any]) -> Figure:
    """The image, and beside each of its rows the probabilities of the digits after it."""
    height, p = 5.9, answers.probabilities
    made = _figure(height, [*heading(config), f"answer {answers.answer()}"], 0.28)
    image, table, key = (
        made.add_axes((left / WIDTH, 0.65 / height, width / WIDTH, 4.3 / height))
        for left, width in ((0.55, 4.3), (5.55, 4.5), (10.2, 0.14))
    )
    image.imshow(answers.image, cmap="gray_r", vmin=0, vmax=255, aspect="auto")
    image.set_title("what the network reads", fontsize=11)
    image.set_xticks([])
    # White is nothing and dark is all, in grey too; yellow to blue would shout at the zeros.
    shades = table.imshow(100 * p, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    centred: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 8}
    for n, digit in enumerate(p.argmax(1)):
        shade = "white" if p[n, digit] > 0.55 else "black"
        table.text(digit, n, f"{p[n, digit]:.0%}", color=shade, **centred)
    table.set_title(f"answer after each {answers.unit}, the likeliest in figures", fontsize=11)
    table.set_xticks(range(10))
    table.set_xlabel("digit", fontsize=11)
    table.set_xticks(np.arange(1, 10) - 0.5, minor=True)
    table.grid(which="minor", axis="x", color="0.9", linewidth=0.7)
    ticks, per = range(3, 28, 4), 1 if answers.in_order else 28
    table.set_yticks(ticks, [f"{per * (n + 1)}" for n in ticks])
    table.set_ylabel("rows read" if answers.in_order else "pixels read", fontsize=11)
    # Beside each other, a row of the image and the answer after it; pixels from everywhere have
    # no place of their own.
    places = ticks if answers.in_order else []
    image.set_yticks(places, [f"{n + 1}" for n in places])
    for axes in (image, table):
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_color("0.7")
    made.colorbar(shades, cax=key).set_label("probability (%)", fontsize=10)
    return made
