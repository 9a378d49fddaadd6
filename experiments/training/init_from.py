"""Begins a training with the weights of another run, `--init-from RUN`."""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from experiments.config.cli import UserError, flag
from experiments.config.settings import flatten
from experiments.data.text import Vocabulary
from experiments.runs.directory import RunDir
from experiments.runs.load import load
from experiments.training.task import digest

# Settings that a network's weights are made for.
SHAPE: tuple[str, ...] = (
    "cell",
    "units",
    "layers",
    "bidirectional",
    "readout",
    "hidden",
    "members",
)
SHAPE += ("embedding", "bigrams", "pixels", "permute")


def begin(
    settings: Any, model: Any, vocabulary: Vocabulary | None, classes: Sequence[str]
) -> dict[str, str]:
    """Give `model` the weights of the run that the settings name, in place.

    Returns:
        Their SHA-256 for `Task.digests`, or nothing where no run is named: a run that is resumed
        must have begun with the same.

    Raises:
        UserError: it is no run with a checkpoint, of another network, or of other words.
    """
    run = settings.run.init_from
    if run is None:
        return {}
    trained = load(RunDir(run), lambda line: print(line, file=sys.stderr))
    here, there = flatten(settings), flatten(trained.settings)
    for name in SHAPE:
        if here.get(name) != there.get(name):
            raise UserError(
                f"--init-from {run}: its {flag(name)} is {there.get(name)}, and here it is "
                f"{here.get(name)}; give the same network"
            )
    if vocabulary is not None and trained.vocabulary != vocabulary:
        raise UserError(f"--init-from {run}: its words are others; give the same data")
    if trained.classes != tuple(classes):
        raise UserError(f"--init-from {run}: its classes are others; give the same data")
    nnx.update(model, trained.params)
    return {"weights": digest(*map(np.asarray, jax.tree.leaves(trained.params)))}
