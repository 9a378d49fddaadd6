"""Writes the files of a run by hand."""

import json

CONFIG = {
    "title": "IMDB sentiment",
    "dataset": "imdb",
    "settings": {"cell": "lstm", "units": 32, "layers": 1, "bidirectional": False},
}
SUMMARY = {"test_accuracy": 0.8812}


def rows(n=6, best=4):
    """Accuracy that rises to `best` and falls after it."""
    return [
        {
            "epoch": e, "step": 10 * e, "train_loss": 0.7 - 0.08 * e, "val_loss": 0.5 + 0.01 * e,
            "train_accuracy": 0.6 + 0.05 * e, "val_accuracy": 0.85 - 0.01 * abs(e - best),
            "seconds": 1.0,
        }
        for e in range(1, n + 1)
    ]  # fmt: skip


def run_dir(path, table, config=CONFIG, summary=SUMMARY):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    if summary is not None:
        (path / "summary.json").write_text(json.dumps(summary))
    return path
