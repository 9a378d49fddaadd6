"""Writes the page of results: every figure read from the files of runs, beside the tutorial's.

Runs that differ in nothing but the seed are one row, with each seed's figure and their mean. The
prose is in `stories.md`: the page without its tables, each section after the name of its kind.
"""

import dataclasses
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config import imdb, mnist
from experiments.config.cli import flag
from experiments.config.settings import flatten
from experiments.plots.style import heading, save
from experiments.plots.tables import conditions, markdown
from experiments.report import memory_page
from experiments.runs.directory import FREE
from experiments.runs.results import Loaded, best_row
from experiments.storage.files import write_text

# Where data lie and what a run is called are no part of what it is.
UNSAID = FREE | {"data", "seed", "recipe"}

HEAD, *_PARTS = re.split(
    r"<!-- (.+) -->\n", Path(__file__).with_name("stories.md").read_text(encoding="utf-8")
)
STORIES = {key: story.strip() for key, story in zip(_PARTS[::2], _PARTS[1::2], strict=True)}


def write(page: Path, runs: Sequence[Loaded], studies: Sequence[memory_page.Study]) -> None:
    """Write the page, and a picture for each section into the directory docs next to it."""
    from experiments.report.picture import picture

    docs = page.parent / "docs"
    docs.mkdir(exist_ok=True)
    parts = [f"{HEAD.strip()}\n"]
    for key, group in sections(runs).items():
        file = f"results-{re.sub(r'[^a-z0-9]+', '-', key.lower())}.png"
        pairs = zip(group, names(group), strict=True)
        save(picture([dataclasses.replace(run, name=name) for run, name in pairs]), docs / file)
        image = f"![Validation accuracy and loss by epoch](docs/{file})"
        parts.append(f"{section(key, group)}\n{image}\n")
    for task, picture_name in memory_page.PICTURES.items():
        some = [study for study in studies if study.config["task"] == task]
        if some:
            configs = [study.config for study in some]
            parts.append(_section(task, memory_page.table(task, some), configs))
        for study in some:
            file = f"results-{study.path.name}.png"
            shutil.copy(study.path / picture_name, docs / file)
            parts.append(f"![{study.path.name}](docs/{file})\n")
    write_text(page, "\n".join(parts))


def story_of(run: Loaded) -> str:
    """The key of a run in `STORIES`, or its title where it has none."""
    settings, task = run.config.get("settings", {}), run.config.get("task", "")
    if imdb.is_own(str(settings.get("data", "auto"))):
        return str(run.config.get("title", ""))
    kind = settings.get("recipe") or settings.get("cell")
    if task == "mnist":
        kind = run.config.get("title", "").partition(", ")[2]
    key = f"{task} {'simple' if kind == 'rnn' else kind}"
    return key if key in STORIES else run.config.get("title", "")


def sections(runs: Sequence[Loaded]) -> dict[str, list[Loaded]]:
    """The runs by `story_of`, in the order of `STORIES` and then as given."""
    groups: dict[str, list[Loaded]] = {key: [] for key in STORIES}
    for run in runs:
        groups.setdefault(story_of(run), []).append(run)
    return {key: group for key, group in groups.items() if group}


def section(key: str, runs: Sequence[Loaded]) -> str:
    """Title, what the tutorial has, table and conditions."""
    rows = [row(group, whole="pixels" in key) for group in grouped(runs)]
    if len(rows) > 1:
        rows = [{"row": str(n), **cells} for n, cells in enumerate(rows, 1)]
    return _section(key, rows, [run.config for run in runs])


def _section(key: str, rows: Sequence[Mapping[str, str]], configs: Sequence[Any]) -> str:
    story = STORIES.get(key, f"## {key}\n\nTutorial: none.")
    return f"{story}\n\n{markdown(rows)}\n{conditions(configs)}\n"


def command(run: Loaded) -> str:
    """The command line that gave the run, without seed and directories."""
    settings, (without, defaults) = run.config.get("settings", {}), _defaults(run)
    # A run from before there was a setting is one without it.
    settings = without | settings
    words = [f"python -m experiments.{run.config.get('task')}"]
    if settings.get("recipe"):
        words.append(f"--recipe {settings['recipe']}")
    for name, value in settings.items():
        # Its place is no part of a run, but there is no other name for somebody's own texts.
        is_said = name not in UNSAID or (name == "data" and imdb.is_own(str(value)))
        if not is_said or value is None or value == defaults.get(name):
            continue
        if isinstance(value, bool):
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), f"{value:g}" if isinstance(value, float) else str(value)]
    return " ".join(words)


def grouped(runs: Sequence[Loaded]) -> list[list[Loaded]]:
    """Runs that differ in nothing but seed and directories, together; in the order given."""
    groups: dict[str, list[Loaded]] = {}
    for run in runs:
        settings = run.config.get("settings", {})
        same = {name: value for name, value in settings.items() if name not in FREE | {"seed"}}
        key = f"{run.config.get('title')} {sorted(same.items(), key=str)}"
        groups.setdefault(key, []).append(run)
    return [sorted(group, key=_seed) for group in groups.values()]


def row(group: Sequence[Loaded], *, whole: bool) -> dict[str, str]:
    """One row of the table; `whole` adds what a run on all images would cost."""
    ends = [run.summary for run in group if run.summary]
    # The first epoch compiles.
    later = [row["seconds"] for run in group for row in run.rows[1:] or run.rows]
    seconds = statistics.median(later)
    minutes = statistics.mean(sum(row["seconds"] for row in run.rows) / 60 for run in group)
    parameters = dict.fromkeys(f"{end['parameters']:,}" for end in ends)
    cells = {
        "command": f"`{command(group[0])}`",
        "seeds": ", ".join(str(_seed(run)) for run in group),
        "parameters": ", ".join(parameters) or "-",
        "best validation accuracy": _figures([best_row(r.rows)["val_accuracy"] for r in group]),
        "test accuracy": _figures([end["test_accuracy"] for end in ends]) or "not finished",
        "lowest training loss": f"{min(r['train_loss'] for run in group for r in run.rows):.3f}",
        "epochs": ", ".join(str(len(run.rows)) for run in group),
        "seconds per epoch": f"{seconds:.1f}",
        "minutes in all": f"{minutes:.1f}",
    }
    if whole:
        examples = group[0].config["settings"]["examples"]
        cells["a full run, extrapolated"] = f"{seconds * 50_000 / examples * 10 / 60:.0f} minutes"
    return cells


def names(runs: Sequence[Loaded]) -> list[str]:
    """For a legend: the row of the table where it has several, the model and the seed."""
    groups = grouped(runs)
    return [
        f"{f'{n}: ' if len(groups) > 1 else ''}{heading(run.config)[1]}, seed {_seed(run)}"
        for run in runs
        for n, group in enumerate(groups, 1)
        if run in group
    ]


def _defaults(run: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flat settings of a run's task, and of its recipe: what differs from these was a flag."""
    task = mnist.Settings if run.config.get("task") == "mnist" else imdb.Settings
    recipe = imdb.RECIPES.get(run.config.get("settings", {}).get("recipe"), task)
    return flatten(task()), flatten(recipe())


def _figures(values: Sequence[float]) -> str:
    each = ", ".join(f"{value:.4f}" for value in values)
    return each if len(values) < 2 else f"{each}; mean **{statistics.mean(values):.4f}**"


def _seed(run: Loaded) -> int:
    return run.config.get("settings", {}).get("seed", 0)
