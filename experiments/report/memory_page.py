"""Reads what `experiments.memory` wrote, and makes its rows tables for the page of results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.cli import UserError
from experiments.plots.style import NAMES
from experiments.runs.directory import RunDir

PICTURES = {"memory-sequence": "sequence.png", "memory-span": "span.png"}


class Study(NamedTuple):
    """The files of one memory command."""

    path: Path
    config: dict[str, Any]
    rows: list[dict[str, Any]]


def load(directory: str | Path) -> Study | None:
    """A study, or None where this is a directory of something else.

    Raises:
        UserError: a file of it is damaged.
    """
    path = Path(directory)
    config = RunDir(path).config()
    if config.get("task") not in PICTURES:
        return None
    try:
        lines = (path / "results.jsonl").read_text().splitlines()
        return Study(path, config, [json.loads(line) for line in lines])
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'results.jsonl'} cannot be read ({error})") from None


def table(task: str, studies: Sequence[Study]) -> list[dict[str, str]]:
    """The rows of all studies of one command; what several of them hold stands there once."""
    rows = {json.dumps(row): row for study in studies for row in study.rows}
    return (_sequence if task == "memory-sequence" else _span)(list(rows.values()))


def _sequence(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    truth = {"{}, {}".format(*row["pair"]): str(row["truth"]) for row in rows}
    lines: dict[str, dict[str, str]] = {"truth": truth}
    for row in rows:
        line = lines.setdefault(NAMES.get(row["network"], row["network"]), {})
        line["{}, {}".format(*row["pair"])] = f"{row['prediction']:.2f}"
    return [{"after": name} | {pair: line[pair] for pair in truth} for name, line in lines.items()]


def _span(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Only lags at which all cells were tried."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    lines: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        end = f"solved after {row['steps']}" if row["solved"] else "not solved"
        line = lines.setdefault((row["task"], row["length"]), {})
        line[row["cell"]] = f"{row['error']:.4f}, {end}"
    return [
        {"task": task, "lag": str(lag)} | {NAMES.get(cell, cell): line[cell] for cell in cells}
        for (task, lag), line in lines.items()
        if len(line) == len(cells)
    ]
