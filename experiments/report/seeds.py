"""Trains the same settings with several seeds in turn, and reports on all: `--seeds 0,1,2`."""

import dataclasses
from collections.abc import Callable
from typing import Any

from experiments.config.cli import UserError
from experiments.report.table import deviations, table
from experiments.runs.results import load
from experiments.training.command import directory_of


def in_turn(settings: Any, name: Callable[[Any], str], train: Callable[[Any], int]) -> int:
    """Train once, or with every one of `--seeds`; the exit status of the last training.

    Args:
        settings: of the command.
        name: of a run with given settings, its directory in `runs` where none is given.
        train: trains one run.
    """
    if settings.run.seeds is None:
        return train(settings)
    directories = []
    for seed in numbers(settings.run.seeds):
        base = settings.run.run_dir
        one = dataclasses.replace(
            settings, training=dataclasses.replace(settings.training, seed=seed)
        )
        place = directory_of(one, name(one)) if base is None else f"{base}-seed{seed}"
        one = dataclasses.replace(
            one, run=dataclasses.replace(settings.run, seeds=None, run_dir=place)
        )
        if status := train(one):
            return status
        directories.append(place)
    if settings.hardware.process_id == 0:
        runs = [load(directory) for directory in directories]
        print(f"\n{table(runs)}{deviations(runs)}", end="")
    return 0


def numbers(text: str) -> list[int]:
    """The seeds in `0,1,2`, each once.

    Raises:
        UserError: one of them is no seed.
    """
    seeds = []
    for word in text.replace(",", " ").split():
        if not word.isdecimal() or int(word) >= 2**31:
            raise UserError(f"--seeds holds {word!r}; give whole numbers from 0 on, such as 0,1,2")
        seeds.append(int(word))
    if not seeds:
        raise UserError("--seeds is empty; give whole numbers, such as 0,1,2")
    return list(dict.fromkeys(seeds))
