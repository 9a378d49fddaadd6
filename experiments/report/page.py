"""The page of results: every figure read from the files of runs, beside the tutorial's.

    python -m experiments.report RUNS... --page RESULTS.md

Runs that differ in nothing but the seed are one row, with each seed's figure and their mean.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments import mnist
from experiments.config import imdb
from experiments.config.cli import flag
from experiments.config.settings import flatten
from experiments.plots.curves import heading
from experiments.report.tables import conditions, markdown
from experiments.runs.directory import FREE, Loaded, best_row

# Where data lie and what a run is called are no part of what it is.
UNSAID = FREE | {"data", "seed", "recipe"}


class Story(NamedTuple):
    """What is known of a model from elsewhere, and what is to be seen here."""

    title: str
    tutorial: str
    text: str = ""


TWICE = (math.log(1 + math.exp(-1)) + math.log(2)) / 2
"""-(log sigmoid(1) + log sigmoid(0)) / 2, see `Story` of "stacked"."""

STORIES = {
    "imdb lstm": Story(
        "IMDB, LSTM(32) on 500 steps",
        "best validation accuracy 0.887, 487 s per epoch",
    ),
    "imdb simple": Story("IMDB, SimpleRNN(32) on 500 steps", "curves only; it overfits"),
    "imdb gru": Story("IMDB, GRU(32) on 500 steps", "none"),
    "imdb stacked": Story(
        "IMDB, two layers of SimpleRNN(64) on 80 steps",
        "0.796 after 20 epochs, with the sigmoid applied twice",
        "The tutorial's model ends in a sigmoid, and its loss applies another. What the loss then "
        "takes for the probability is sigmoid(p) with p between 0 and 1: never below 1/2 and never "
        "above 0.731. A perfect answer still costs -log 0.731 = 0.313 on a positive review and "
        f"-log 0.5 = 0.693 on a negative one, {TWICE:.3f} on the average, and the gradient through "
        "two sigmoids is small long before that. `--loss sigmoid-twice` does the same here on "
        "purpose: its loss in the table stays above that bound.",
    ),
    "imdb pooled": Story(
        "IMDB, the mean of embeddings and no recurrence, 256 steps",
        "curves only",
        "The baseline: whatever is recurrent must be better.",
    ),
    "imdb best": Story(
        "IMDB, the best recurrent network here",
        "none",
        "No pre-training, nothing beyond the 25,000 training reviews. The second row is without "
        "pairs of words. The third is one small network, from which each row below takes one thing "
        "away: Adam's large epsilon (without it, rare words are learnt by heart), the second "
        "direction, mean and maximum as the readout, word dropout, the average of the weights. "
        "One seed each, and 1,250 reviews to validate on: differences of 0.003 say nothing.",
    ),
    "mnist rows": Story("MNIST by rows, 28 steps of 28 pixels, 128 units", "curves only"),
    "mnist pixels": Story(
        "MNIST pixel by pixel, 784 steps of 1",
        "none",
        "Trained on a part of the images, to see what a full run would cost: the last column is "
        "seconds per epoch x (50,000 / examples) x the default 10 epochs, and was not run.",
    ),
    "mnist permuted pixels": Story(
        "MNIST pixel by pixel in a fixed random order",
        "none",
        "A part of the images only, as above.",
    ),
}


def story_of(run: Loaded) -> str:
    """The key of a run in `STORIES`, or its title where it has none."""
    settings, task = run.config.get("settings", {}), run.config.get("task", "")
    if task == "mnist":
        key = f"mnist {run.config.get('title', '').partition(', ')[2]}"
    else:
        recipe = settings.get("recipe") or settings.get("cell")
        key = f"{task} {'simple' if recipe == 'rnn' else recipe}"
    return key if key in STORIES else run.config.get("title", "")


def sections(runs: Sequence[Loaded]) -> dict[str, list[Loaded]]:
    """The runs by `story_of`, in the order of `STORIES` and then as given."""
    found: dict[str, list[Loaded]] = {}
    for run in sorted(runs, key=lambda r: [*STORIES, story_of(r)].index(story_of(r))):
        found.setdefault(story_of(run), []).append(run)
    return found


def section(key: str, runs: Sequence[Loaded]) -> str:
    """Title, what the tutorial has, table and conditions."""
    story = STORIES.get(key, Story(key, "none"))
    rows = [row(group, whole="pixels" in key) for group in grouped(runs)]
    if len(rows) > 1:
        rows = [{"row": str(n), **cells} for n, cells in enumerate(rows, 1)]
    parts = [
        f"## {story.title}",
        f"Tutorial: {story.tutorial}.",
        story.text,
        markdown(rows).strip(),
    ]
    return "\n\n".join([*filter(None, parts), conditions([r.config for r in runs])]) + "\n"


def command(run: Loaded) -> str:
    """The command line that gave the run, without seed and directories."""
    settings, (without, defaults) = run.config.get("settings", {}), _defaults(run)
    # A run from before there was a setting is one without it.
    settings = without | settings
    words = [f"python -m experiments.{run.config.get('task')}"]
    if settings.get("recipe"):
        words.append(f"--recipe {settings['recipe']}")
    for name, value in settings.items():
        if name in UNSAID or value is None or value == defaults.get(name):
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        else:
            words.append(f"{flag(name)} {value:g}" if isinstance(value, float) else
                         f"{flag(name)} {value}")  # fmt: skip
    return " ".join(words)


def grouped(runs: Sequence[Loaded]) -> list[list[Loaded]]:
    """Runs that differ in nothing but seed and directories, together; in the order given."""
    groups: dict[str, list[Loaded]] = {}
    for run in runs:
        settings = run.config.get("settings", {})
        same = {name: value for name, value in settings.items() if name not in FREE | {"seed"}}
        groups.setdefault(f"{run.config.get('title')} {sorted(same.items(), key=str)}", []).append(
            run
        )
    return [sorted(group, key=_seed) for group in groups.values()]


def row(group: Sequence[Loaded], *, whole: bool) -> dict[str, str]:
    """One row of the table; `whole` adds what a run on all images would cost."""
    bests = [best_row(run.rows)["val_accuracy"] for run in group]
    tests = [run.summary["test_accuracy"] for run in group if run.summary]
    # The first epoch compiles.
    seconds = statistics.median(
        s["seconds"] for run in group for s in (run.rows[1:] or run.rows)
    )  # fmt: skip
    cells = {
        "command": f"`{command(group[0])}`",
        "seeds": ", ".join(str(_seed(run)) for run in group),
        "parameters": _parameters(group),
        "best validation accuracy": _figures(bests),
        "test accuracy": _figures(tests) or "not finished",
        "lowest training loss": f"{min(r['train_loss'] for run in group for r in run.rows):.3f}",
        "epochs": ", ".join(str(len(run.rows)) for run in group),
        "seconds per epoch": f"{seconds:.1f}",
        "minutes in all": f"{statistics.mean(_minutes(run) for run in group):.1f}",
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


def _parameters(group: Sequence[Loaded]) -> str:
    found = dict.fromkeys(f"{run.summary['parameters']:,}" for run in group if run.summary)
    return ", ".join(found) or "-"


def _minutes(run: Loaded) -> float:
    return sum(r["seconds"] for r in run.rows) / 60


def _seed(run: Loaded) -> int:
    return run.config.get("settings", {}).get("seed", 0)
