"""Writes a training's numbers for TensorBoard, `--log tensorboard`, beside the files of the run."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PLACE = "tensorboard"
# Pictures that a finished run may have, and what they are called there.
PICTURES = {"confusion.png": "test/confusion_matrix", "mistakes.png": "test/mistakes"}
SCALARS = {
    "train_loss": "loss/training",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "gradient_norm": "gradient_norm",
    "seconds": "seconds_per_epoch",
}


def epoch(run_dir: Path, row: Mapping[str, Any], learning_rate: float) -> None:
    """Add one epoch's numbers at its step."""
    with _writer(run_dir) as writer:
        for name, title in SCALARS.items():
            if row.get(name) is not None:
                writer.add_scalar(title, row[name], row["step"])
        writer.add_scalar("learning_rate", learning_rate, row["step"])


def end(run_dir: Path, summary: Mapping[str, Any], step: int) -> None:
    """Add the result and the pictures that the finished run has."""
    import matplotlib.image

    with _writer(run_dir) as writer:
        for name in ("test_loss", "test_accuracy"):
            writer.add_scalar(name.replace("_", "/"), summary[name], step)
        for file, title in PICTURES.items():
            if (run_dir / file).exists():
                pixels = matplotlib.image.imread(run_dir / file)[..., :3]
                writer.add_image(title, pixels, step, dataformats="HWC")


@contextlib.contextmanager
def _writer(run_dir: Path) -> Iterator[Any]:
    """A writer that is closed after each epoch: what stands there then survives a kill."""
    from tensorboardX import SummaryWriter

    suffix = f".{len(os.listdir(run_dir / PLACE)) if (run_dir / PLACE).exists() else 0:06}"
    with SummaryWriter(str(run_dir / PLACE), filename_suffix=suffix) as writer:
        yield writer
