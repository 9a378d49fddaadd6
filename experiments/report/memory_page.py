"""What `experiments.memory` found, for the page of results: its rows as tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.cli import UserError
from experiments.plots.curves import NAMES
from experiments.report.tables import conditions, markdown
from experiments.runs.directory import RunDir


class Study(NamedTuple):
    """The files of one memory command."""

    path: Path
    config: dict[str, Any]
    rows: list[dict[str, Any]]


PICTURES = {"memory-sequence": "sequence.png", "memory-span": "span.png"}


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


def sections(studies: Sequence[Study]) -> dict[str, list[Study]]:
    """The studies by their command, in the order of `PICTURES`."""
    found = {task: [s for s in studies if s.config["task"] == task] for task in PICTURES}
    return {task: of for task, of in found.items() if of}


def section(task: str, studies: Sequence[Study]) -> str:
    """Title, command, table and conditions; what several studies all hold stands there once."""
    rows = {json.dumps(row): row for study in studies for row in study.rows}
    write = _sequence if task == "memory-sequence" else _span
    configs = [study.config for study in studies]
    return write(list(rows.values())) + f"\n{conditions(configs)}\n"


def _sequence(rows: Sequence[Mapping[str, Any]]) -> str:
    pairs = list(dict.fromkeys(tuple(row["pair"]) for row in rows))
    truth = {tuple(row["pair"]): row["truth"] for row in rows}
    table = [{"after": "truth", **{f"{a}, {b}": str(truth[a, b]) for a, b in pairs}}]
    for network in dict.fromkeys(row["network"] for row in rows):
        said = {tuple(r["pair"]): r["prediction"] for r in rows if r["network"] == network}
        name = NAMES.get(network, network)
        table.append({"after": name, **{f"{a}, {b}": f"{said[a, b]:.2f}" for a, b in pairs}})
    return (
        "## Which number follows these two?\n\n"
        'Tutorial: "the recurrent net is better". Here, `python -m experiments.memory sequence`, '
        "prediction of each network beside the truth:\n\n" + markdown(table)
    )


def _span(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    table = []
    for task, length in dict.fromkeys((row["task"], row["length"]) for row in rows):
        of = {row["cell"]: row for row in rows if (row["task"], row["length"]) == (task, length)}
        shown = {
            NAMES.get(cell, cell): f"{of[cell]['error']:.4f}, "
            + (f"solved after {of[cell]['steps']}" if of[cell]["solved"] else "not solved")
            for cell in cells
            if cell in of
        }
        if len(shown) == len(cells):
            table.append({"task": task, "lag": str(length), **shown})
    return (
        "## How long is the memory?\n\n"
        "`python -m experiments.memory span`: error at each lag, and after how many training "
        "steps it was solved (an error below a tenth of that without any memory). Adding: mean "
        "squared error; copy: share of wrong symbols.\n\n" + markdown(table)
    )
