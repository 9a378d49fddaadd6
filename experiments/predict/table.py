"""Writes answers to several questions: a table for people, CSV or JSON for programs."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from experiments.config.cli import printable

Format = Literal["table", "csv", "json"]
# Columns of a terminal that a text has in a table, and a class.
_TEXT, _CLASS = 60, 24


class Row(NamedTuple):
    """One question and its answer.

    Attributes:
        about: the text, or the file of the picture.
        label: the most probable class.
        probabilities: of each class, by name.
        words, unknown: how many words a text has, and how many of them the run does not know.
    """

    about: str
    label: str
    probabilities: Mapping[str, float]
    words: int | None = None
    unknown: int | None = None


def written(rows: Sequence[Row], form: Format) -> str:
    """All rows, without a line end after the last."""
    if form == "json":
        return json.dumps([_filled(row) for row in rows], indent=1, ensure_ascii=False)
    if form == "table":
        return "\n".join(
            f"{label}  {row.probabilities[row.label]:6.1%}  {_short(row.about, _TEXT)}"
            for label, row in zip(column(row.label for row in rows), rows, strict=True)
        )
    text = io.StringIO()
    counts = [name for name in ("words", "unknown") if getattr(rows[0], name) is not None]
    classes = list(rows[0].probabilities)
    writer = csv.writer(text, lineterminator="\n")
    # A class may be called as another column is.
    taken = {"about", "label", *counts} & {*classes}
    shown = [f"probability of {name}" for name in classes] if taken else classes
    writer.writerow(["about", "label", *shown, *counts])
    for row in rows:
        shares = [f"{row.probabilities[name]:.6g}" for name in classes]
        writer.writerow([row.about, row.label, *shares, *(getattr(row, name) for name in counts)])
    return text.getvalue().rstrip("\n")


def _filled(row: Row) -> dict[str, object]:
    return {name: value for name, value in row._asdict().items() if value is not None}


def column(names: Iterable[str]) -> list[str]:
    """Names of classes, all of one width on the screen: letters of Chinese have two columns."""
    short = [_short(name, _CLASS) for name in names]
    width = max(map(cell_len, short))
    return [set_cell_size(name, width) for name in short]


def _short(text: str, width: int) -> str:
    """A text on one line, which ends where there is no room."""
    line = printable(" ".join(text.split()))
    return line if cell_len(line) <= width else f"{set_cell_size(line, width - 1).rstrip()}…"
