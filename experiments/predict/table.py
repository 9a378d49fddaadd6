"""Writes answers to several questions: a table for people, CSV or JSON for programs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rich.cells import set_cell_size

Format = Literal["table", "csv", "json"]
_WIDE = 60


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
        width = max(len(row.label) for row in rows)
        return "\n".join(
            f"{row.label:{width}}  {row.probabilities[row.label]:6.1%}  {_short(row.about)}"
            for row in rows
        )
    text = io.StringIO()
    counts = [name for name in ("words", "unknown") if getattr(rows[0], name) is not None]
    classes = list(rows[0].probabilities)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["about", "label", *classes, *counts])
    for row in rows:
        shares = [f"{row.probabilities[name]:.6g}" for name in classes]
        writer.writerow([row.about, row.label, *shares, *(getattr(row, name) for name in counts)])
    return text.getvalue().rstrip("\n")


def _filled(row: Row) -> dict[str, object]:
    return {name: value for name, value in row._asdict().items() if value is not None}


def _short(text: str) -> str:
    """A text on one line, which ends where there is no room."""
    line = " ".join(text.split())
    return line if len(line) <= _WIDE else f"{set_cell_size(line, _WIDE - 1).rstrip()}…"
