"""Writes runs as tables in Markdown: one row for each, and one for each set of seeds."""

import statistics
from collections.abc import Sequence

from experiments.plots import confusion
from experiments.plots.style import heading
from experiments.plots.tables import cell, markdown
from experiments.report.page import grouped
from experiments.runs.results import Loaded, best_row


def table(runs: Sequence[Loaded]) -> str:
    """The runs as a table in Markdown, in the order given."""
    return markdown([_row(run) for run in runs])


def _row(run: Loaded) -> dict[str, str]:
    best, end = best_row(run.rows), run.summary
    later = [row["seconds"] for row in run.rows[1:] or run.rows]  # the first epoch compiles
    return {
        "run": run.name,
        "data": cell(str(run.config.get("dataset"))),
        "model": heading(run.config)[1],
        "parameters": f"{end['parameters']:,}" if end else "-",
        "best validation accuracy": f"{best['val_accuracy']:.4f}",
        "epoch": str(best["epoch"]),
        "test accuracy": f"{end['test_accuracy']:.4f}" if end else "not finished",
        "seconds per epoch": f"{statistics.median(later):.1f}",
        "jax": str(run.config.get("versions", {}).get("jax", "-")),
    }


def deviations(runs: Sequence[Loaded]) -> str:
    """Mean and standard deviation of those that differ in nothing but the seed; or nothing."""
    rows = []
    for group in grouped(runs):
        tests = [run.summary["test_accuracy"] for run in group if run.summary]
        if len(group) > 1:
            rows.append(
                {
                    "model": heading(group[0].config)[1],
                    "seeds": ", ".join(str(run.config["settings"]["seed"]) for run in group),
                    "best validation accuracy": spread(
                        [best_row(run.rows)["val_accuracy"] for run in group]
                    ),
                    "test accuracy": spread(tests),
                }
            )
    return f"\n{markdown(rows)}" if rows else ""


def by_class(runs: Sequence[Loaded]) -> str:
    """Of each run on somebody's own texts how much of each class was answered rightly; or nothing.

    Runs of the same classes stand in one table.
    """
    tables: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for run in runs:
        found = None if run.path is None else confusion.read(run.path)
        if found is None:
            continue
        examples = found.counts.sum(1).tolist()
        rights = (
            f"{share:.4f} of {count:,}" if count else "none to test on"
            for share, count in zip(found.shares, examples, strict=True)
        )
        row = {
            "answered rightly": run.name,
            **dict(zip(map(cell, found.classes), rights, strict=True)),
        }
        tables.setdefault(found.classes, []).append(row)
    return "".join(f"\n{markdown(rows)}" for rows in tables.values())


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation (of a sample, n - 1)."""
    if len(values) < 2:
        return "".join(f"{value:.4f}" for value in values) or "not finished"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
