"""Keep a training on disk, so that it can go on: open its run, save it, read it back."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.runs import provenance
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDir
from experiments.training.processes import Processes, Shared
from experiments.training.step import TrainState

Rows = list[dict[str, Any]]


class Store:
    """A run's directory and checkpoints; the first process writes, and all read the same.

    Attributes:
        config: what `config.json` holds.
    """

    def __init__(
        self,
        directory: RunDir,
        processes: Processes,
        config: dict[str, Any],
        say: Callable[[str], None],
    ):
        self.directory, self.processes, self.config, self.say = directory, processes, config, say
        self.checkpoints = Checkpoints(directory.checkpoints)
        self.identity = provenance.fixed(config)

    def open(
        self, held: contextlib.ExitStack, save: Callable[[Path], None], *, resume: bool
    ) -> tuple[bool, dict[str, Any] | None]:
        """Hold the run's directory, and make it or see that it is this run's.

        Args:
            held: keeps the directory.
            save: writes what the run needs besides its config, into its directory.
            resume: whether a run may be there.

        Returns:
            Whether a run goes on here, and the summary of a finished one.
        """
        opened = self.processes.shared(lambda: Shared(self._open(held, save, resume)))
        assert opened is not None
        resumed, finished = opened.notes
        return resumed, finished

    def _open(
        self, held: contextlib.ExitStack, save: Callable[[Path], None], resume: bool
    ) -> tuple[bool, dict[str, Any] | None]:
        held.enter_context(self.directory.locked(resume=resume))
        resumed = self.directory.holds_run()
        if resumed:
            for line in provenance.check_same(self.directory.config(), self.config):
                self.say(line)
            finished = self.directory.summary(("best_epoch", "best_val_accuracy", "test_accuracy"))
            if finished is not None:
                return True, finished
        else:
            self.directory.create(self.config)
        save(self.directory.path)
        return resumed, None

    def restore(self, fresh: TrainState) -> tuple[TrainState, Rows, float]:
        """The newest good checkpoint, its rows and the seconds of its epoch; else `fresh`."""
        like = fresh._asdict()
        newest = self.processes.shared(lambda: self._newest(like), like)
        if newest is None:
            self.say("No checkpoint yet: starting at the first step.")
            return fresh, [], 0.0
        step, meta = newest.notes
        # The rows of the checkpoint are the truth: a kill between the two writes loses nothing.
        if self.processes.leader:
            self.directory.write_rows(meta["rows"])
        self.say(f"Continuing at step {step:,}.")
        return TrainState(**newest.arrays), meta["rows"], meta["seconds"]

    def _newest(self, like: dict[str, Any]) -> Shared | None:
        newest = self.checkpoints.restore_newest(like, self.say)
        if newest is None:
            self.directory.check_untrained()
            return None
        step, arrays, meta = newest
        provenance.check_sealed(meta, self.identity, self.checkpoints.directory / str(step))
        return Shared((step, meta), arrays)

    def save(
        self, state: TrainState, rows: Rows, seconds: float, *, score: float | None = None
    ) -> int:
        """Write a checkpoint, with a score at the end of an epoch; the step it is of."""
        step = int(state.step)
        meta = {"rows": rows, "seconds": seconds, "run": self.identity}
        if self.processes.leader:
            self.checkpoints.save(step, state._asdict(), meta, score=score)
        return step
