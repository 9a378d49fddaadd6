"""Keeps a training on disk, so that it can go on: opens its run, saves it, reads it back.

A training takes hours, and its directory is somebody's: it may be deleted, moved, or given to
another run meanwhile. So each save looks first whether the directory is still this run's. One that
is gone is made anew from what is in memory; one that holds another run is left alone, and this run
ends with its state saved next to it.
"""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError
from experiments.runs import provenance
from experiments.runs.checkpoint import Checkpoints, newest_meta
from experiments.runs.directory import RunDir
from experiments.runs.lock import DirectoryLock
from experiments.runs.seal import check_sealed, fixed
from experiments.training.processes import Processes, Shared
from experiments.training.step import TrainState

Rows = list[dict[str, Any]]


class Store:
    """A run's directory and checkpoints; the first process writes, and all read the same.

    Attributes:
        config: what `config.json` holds; of a run that goes on, as that began.
    """

    lock: DirectoryLock

    def __init__(
        self,
        directory: RunDir,
        processes: Processes,
        config: dict[str, Any],
        say: Callable[[str], None],
    ):
        self.directory, self.processes, self.config, self.say = directory, processes, config, say
        self.checkpoints = Checkpoints(directory.checkpoints)
        self.saved: int | None = None
        self.identity = fixed(config)

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
        self.lock = held.enter_context(self.directory.locked(resume=resume))
        self._save_task = save
        if not self.directory.holds_run():
            self._create(self.directory)
            return False, None
        before = self.directory.config()
        for line in provenance.check_same(before, self.config):
            self.say(line)
        finished = self.directory.summary(("best_epoch", "best_val_accuracy", "test_accuracy"))
        if provenance.has_more_epochs(before, self.config):
            self.config = before | {"settings": self.config["settings"]}
            self.directory.forget_summary()
            finished = None
        else:
            self.config = before
        if finished is None:
            self._create(self.directory)
        elif not self.directory.rows() and (newest := newest_meta(self.directory.checkpoints)):
            self.directory.write_rows(newest[1]["rows"])  # deleted, and in the checkpoint, too
        return True, finished

    def _create(self, directory: RunDir) -> None:
        if not directory.has_config(self.config):
            directory.create(self.config)
        self._save_task(directory.path)

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
        self.saved = step
        self.say(f"Continuing at step {step:,}.")
        return TrainState(**newest.arrays), meta["rows"], meta["seconds"]

    def _newest(self, like: dict[str, Any]) -> Shared | None:
        newest = self.checkpoints.restore_newest(like, self.say)
        if newest is None:
            self.directory.check_untrained()
            return None
        step, arrays, meta = newest
        check_sealed(meta, self.identity, self.checkpoints.directory / str(step))
        return Shared((step, meta), arrays)

    def save(
        self, state: TrainState, rows: Rows, seconds: float, *, score: float | None = None
    ) -> int:
        """Write a checkpoint, with a score at the end of an epoch; the step it is of."""
        step = int(state.step)
        meta = {"rows": rows, "seconds": seconds, "run": self.identity}
        if self.processes.leader:
            arrays = state._asdict()
            if not self._has_place(rows):
                kept = self._elsewhere(rows)
                Checkpoints(kept.checkpoints).save(step, arrays, meta, score=score)
                path = self.directory.path
                now = "holds another run, begun" if path.is_dir() else "has become a file"
                raise UserError(
                    f"{path} {now} while this one trained; this one stops at step {step:,} and is "
                    f"saved: go on with --resume {kept.path}"
                )
            self.checkpoints.save(step, arrays, meta, score=score)
        self.saved = step
        return step

    def beside(self, write: Callable[[], object]) -> bool:
        """Write what stands beside the checkpoints; whether the directory is this run's still.

        One that goes meanwhile is no mistake of what is written: `save` makes it anew.
        """
        if self.lock.holds():
            try:
                write()
            except (OSError, UserError):
                if self.lock.holds():
                    raise
        return self.lock.holds()

    def lost(self) -> str:
        """What is lost if the process ends now."""
        if self.saved is None:
            return "nothing was saved yet"
        return (
            f"what was trained after step {self.saved:,} is not saved; the same command with "
            "--resume goes on from there"
        )

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the result, unless the directory is no longer this run's."""
        if not self.lock.holds():
            raise UserError(
                f"{self.directory.path} was deleted or moved after the last epoch; the result is "
                f"{summary}; where the run lies now, its command with --resume writes it"
            )
        self.directory.write_summary(summary)

    def _has_place(self, rows: Rows) -> bool:
        """Whether the directory is this run's, which is made anew if it is gone."""
        path = self.directory.path
        unchanged = self.directory.has_config(self.config)
        if self.lock.holds():
            if not unchanged:
                self.say(f"{path}/config.json was deleted or changed; it is written again")
                self._create(self.directory)
            return True
        if (self.directory.holds_run() and not unchanged) or path.is_file():
            return False
        self.say(
            f"{path} was deleted or moved while this run trained; it is made anew, without the "
            "checkpoints there were"
        )
        path.mkdir(parents=True, exist_ok=True)
        self.lock.acquire_again()
        self._create(self.directory)
        self.directory.write_rows(rows)
        return True

    def _elsewhere(self, rows: Rows) -> RunDir:
        """A new directory next to the run's, which is another's now, with all but checkpoints."""
        path = self.directory.path
        names = (path.with_name(f"{path.name}-kept{n or ''}") for n in itertools.count())
        kept = RunDir(next(name for name in names if not name.exists()))
        self._create(kept)
        kept.write_rows(rows)
        return kept
