"""Trains what a command has settings for: the way from parsed settings to the exit status."""

from collections.abc import Callable

from experiments.config.begin import unwinding
from experiments.runs.directory import RunDir
from experiments.training import events
from experiments.training.devices import start
from experiments.training.loop import Runner
from experiments.training.progress import Screen
from experiments.training.runtime import compiled_steps_kept
from experiments.training.task import Settings, Task


def directory_of(settings: Settings, name: str) -> str:
    """Where a run of this name lies: where it is told to, or in `runs`."""
    return settings.run.run_dir or f"runs/{name}"


def train(
    name: str,
    settings: Settings,
    prepare: Callable[[Callable[[str], None]], Task],
    *,
    after: Callable[[RunDir, Callable[[str], None]], None] | None = None,
) -> int:
    """Run one training; the exit status.

    Args:
        name: of the run, "imdb-gru-seed0".
        settings: of the command.
        prepare: reads the data and builds the model; gets a function that tells the user.
        after: called by the process that writes, when the run is finished.
    """
    directory = RunDir(directory_of(settings, name))
    leader = settings.hardware.process_id == 0
    if leader:
        directory.check(resume=settings.run.resume)
    screen = Screen(quiet=not leader)
    placement = start(settings.hardware, settings.training.batch_size)
    with unwinding(), placement.processes.together(), compiled_steps_kept():
        task = prepare(screen.say)
        status = Runner(task, settings, directory, screen, placement).main()
        if status == 0 and leader:
            if after is not None:
                after(directory, screen.say)
            if settings.run.log is not None:
                rows, result = directory.rows(), directory.summary(("test_loss", "test_accuracy"))
                events.end(directory.path, result or {}, rows[-1]["step"])
    return status
