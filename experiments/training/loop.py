"""Trains, evaluates, saves and stops: the loop of every training. The only clock is here.

A run is a function of its settings: batch n is a function of (seed, epoch, step), the dropout
key of (seed, step), and everything that the loop itself remembers stands in the checkpoint. So a
run that was stopped anywhere goes on as if it had not been.
"""

import contextlib
import time
from collections import Counter
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from experiments.config.cli import UserError
from experiments.config.settings import flatten, shown
from experiments.data.batch import Batches
from experiments.models import summary
from experiments.plots import curves
from experiments.runs import provenance
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDir
from experiments.runs.load import best_params
from experiments.runs.results import best_row
from experiments.training import events
from experiments.training.devices import ONE_DEVICE, Placement
from experiments.training.nonfinite import Seen, Watch
from experiments.training.processes import Shared
from experiments.training.progress import Bar, Pace, Screen
from experiments.training.signals import watch
from experiments.training.step import (
    Steps,
    Totals,
    TrainState,
    make_optimizer,
    make_schedule,
    make_steps,
)
from experiments.training.store import Store
from experiments.training.task import Settings, Task


class Stopped(NamedTuple):
    """A signal came: where the run stands on disk now."""

    step: int
    signal: int


class Runner:
    """One run: `main` trains it to its end, or until a signal comes."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        directory: RunDir,
        screen: Screen,
        placement: Placement = ONE_DEVICE,
    ):
        self.task, self.screen, self.directory = task, screen, directory
        self.processes, self.devices = placement.processes, placement.names()
        self.settings, self.cell = flatten(settings), settings.model.cell
        training, self.run = settings.training, settings.run
        self.training = training
        self.checkpoints = Checkpoints(directory.checkpoints)
        self.rows: list[dict[str, Any]] = []
        self.picture = curves.LivePicture(directory.path)
        graphdef, self.params = nnx.split(task.model)
        total_steps = training.epochs * task.train.steps_per_epoch
        self.rate = rate = make_schedule(training.schedule, training.learning_rate, total_steps)
        log = directory if self.processes.leader else None
        self.watch = Watch(log, training, rate, screen.say)
        optimizer = make_optimizer(
            training.optimizer,
            rate,
            clip_norm=training.clip_norm,
            weight_decay=training.weight_decay,
            epsilon=training.epsilon,
        )
        self.steps: Steps = make_steps(
            graphdef,
            optimizer,
            jax.random.key(training.seed),
            average=training.average,
            smoothing=training.label_smoothing,
            sigmoid_twice=training.loss == "sigmoid-twice",
            placement=placement,
        )

    def main(self) -> int:
        """Train, say how it ended, and give the exit status."""
        end = self.fit()
        if isinstance(end, Stopped):
            self.screen.say(
                f"stopped and saved at step {end.step:,}; the same command with --resume goes on"
            )
            return 128 + end.signal
        self.screen.say(
            f"best epoch {end['best_epoch']}: validation accuracy {end['best_val_accuracy']:.2%}, "
            f"test accuracy {end['test_accuracy']:.2%} (dataset: {end['dataset']})",
            style="bold",
        )
        self.screen.say(f"curves: {self.directory.path / 'curves.png'}")
        self.screen.say(f"ask it: {self.task.ask(self.directory.path)}")
        return 0

    def fit(self) -> dict[str, Any] | Stopped:
        """Train, and evaluate the best epoch on the test part: the summary. Or `Stopped`."""
        with contextlib.ExitStack() as held, jax.debug_nans(self.run.debug_nans):
            try:
                return self._fit(held)
            except FloatingPointError as nan:
                raise UserError(f"--debug-nans: {str(nan).splitlines()[0]}") from nan

    def _fit(self, held: contextlib.ExitStack) -> dict[str, Any] | Stopped:
        config = provenance.describe(
            task=self.task.name,
            title=self.task.title,
            dataset=self.task.dataset,
            classes=self.task.classes,
            data=self.task.digests,
            settings=self.settings,
            devices=self.devices,
        )
        self.store = Store(self.directory, self.processes, config, self.screen.say)
        resumed, finished = self.store.open(held, self.task.save, resume=self.run.resume)
        if finished is not None:
            self.screen.say(f"This run is finished already: {self.directory.path}")
            picture = self.directory.path / "curves.png"
            if self.processes.leader and self.directory.rows() and not picture.exists():
                curves.draw(self.directory.path)
            return finished
        state, seconds = self.steps.init(self.params), 0.0
        if resumed:
            state, self.rows, seconds = self.store.restore(state)
            # Those that were left out before count, too; the last one saved was looked at.
            self.watch.skipped = int(state.skipped)
        self._card(config)
        stopped = self._epochs(state, seconds)
        if stopped is None:
            return self._finish()
        if self.rows and self.processes.leader:
            self.store.beside(lambda: curves.draw(self.directory.path))
        return stopped

    def _epochs(self, state: TrainState, seconds: float) -> Stopped | None:
        with watch(self.store.lost) as signals, self.screen.bar() as bar:
            while len(self.rows) < self.training.epochs and not self._is_patience_out():
                begun = time.perf_counter() - seconds
                state, stopped = self._steps(state, begun, signals, bar)
                if stopped is not None:
                    return stopped
                state, seconds = self._end_epoch(state, begun), 0.0
                # One that came during the evaluation.
                if signal := self._signal(signals):
                    return Stopped(int(state.step), signal)
        return None

    def _steps(
        self, state: TrainState, begun: float, signals: list[int], bar: Bar
    ) -> tuple[TrainState, Stopped | None]:
        """Train the rest of an epoch; stop after the step in which a signal comes."""
        epoch, steps_per_epoch = len(self.rows), self.task.train.steps_per_epoch
        saved = time.perf_counter()
        late: Seen | None = None
        pace = Pace()
        first = int(state.step) - epoch * steps_per_epoch
        bar.update(self._epoch_name(epoch), first, steps_per_epoch, numbers=["compiling"])
        for n in range(first, steps_per_epoch):
            batch = self.task.train.train(self.training.seed, epoch, n)
            state, report = self.steps.train(state, batch.examples)
            # The numbers of the step before, while this one is being computed.
            self._show(bar, epoch, n, late, pace)
            late = Seen(epoch * steps_per_epoch + n + 1, batch.rows, report)
            waited = (time.perf_counter() - saved) / 60
            due = (every := self.run.checkpoint_steps) and (n + 1) % every == 0
            signal = self._signal(signals)
            if signal or due or waited > self.run.checkpoint_minutes:
                # First: a checkpoint after a bad step would leave it out unasked.
                self.watch.look(late)
                late = None
                step = self.store.save(state, self.rows, time.perf_counter() - begun)
                saved = time.perf_counter()
                if signal:
                    return state, Stopped(step, signal)
        self.watch.look(late)
        return state, None

    def _end_epoch(self, state: TrainState, begun: float) -> TrainState:
        """Evaluate, save, write the row and show it."""
        train_loss, train_accuracy = state.totals.means()
        val_loss, val_accuracy = self.evaluate(state.evaluated, self.task.validation)
        row = {
            "epoch": len(self.rows) + 1,
            "step": int(state.step),
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "seconds": round(time.perf_counter() - begun, 3),
            "gradient_norm": float(np.asarray(state.norms)) / self.task.train.steps_per_epoch,
            "skipped": int(state.skipped),
        }
        self.rows.append(row)
        state = state.next_epoch()
        self.store.save(state, self.rows, 0.0, score=val_accuracy)
        if self.processes.leader and not self.store.beside(self._write_beside):
            self.store.save(state, self.rows, 0.0, score=val_accuracy)
        self.screen.row(row, self.training.epochs, best=best_row(self.rows) is row)
        return state

    def _write_beside(self) -> None:
        self.directory.write_rows(self.rows)
        self.picture.draw(time.perf_counter())
        if self.run.log is not None:
            row = self.rows[-1]
            events.epoch(self.directory.path, row, float(self.rate(row["step"] - 1)))

    def _signal(self, signals: list[int]) -> int:
        """The signal that came to any of the processes, or 0."""
        return self.processes.largest(signals[0] if signals else 0)

    def _finish(self) -> dict[str, Any]:
        known = {"settings": self.settings, "data": self.task.digests}
        averaged, say = self.training.average > 0, self.screen.say

        def read() -> Shared:
            return Shared(*best_params(self.checkpoints, self.params, averaged, known, say))

        best = self.processes.shared(read, self.params)
        assert best is not None
        step, params = best
        test_loss, test_accuracy = self.evaluate(params, self.task.test)
        # Not `best_row`: where the best checkpoint was damaged, another one was tested.
        row = next((row for row in self.rows if row["step"] == step), best_row(self.rows))
        result = {
            "dataset": self.task.dataset,
            "cell": self.cell,
            "parameters": summary.count(self.task.model),
            "best_epoch": row["epoch"],
            "best_val_accuracy": row["val_accuracy"],
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "seconds": round(sum(row["seconds"] for row in self.rows), 3),
            "classes": list(self.task.classes),
        }
        if self.processes.leader:
            self.store.finish(result)
            self.picture.show(curves.draw(self.directory.path))
        return result

    def evaluate(self, params: Any, part: Batches) -> tuple[float, float]:
        """Mean loss in nats and accuracy over every example of a part."""
        sums = Totals.zeros()
        for batch in part.evaluation():
            found = self.steps.evaluate(params, batch.examples)
            sums = jax.tree.map(lambda a, b: a + b, sums, found)
        return sums.means()

    def _is_patience_out(self) -> bool:
        rows = self.rows
        return bool(rows) and len(rows) - best_row(rows)["epoch"] >= self.training.patience

    def _show(self, bar: Bar, epoch: int, n: int, late: Seen | None, pace: Pace) -> None:
        self.watch.look(late)
        pace.step()
        seconds = pace.seconds()
        numbers = []
        if late is not None:
            loss, accuracy = late.report.totals.means()
            numbers = [f"loss {loss:.3f}", f"accuracy {accuracy:.1%}"]
        if self.rows:
            numbers.append(f"val {self.rows[-1]['val_accuracy']:.1%}")
        done, total = n + 1, self.task.train.steps_per_epoch
        ahead = (self.training.epochs - epoch) * total - done
        rate, left = seconds and self.training.batch_size / seconds, seconds and ahead * seconds
        bar.update(
            self._epoch_name(epoch), done, total, numbers=numbers, rate=rate, seconds_left=left
        )

    def _epoch_name(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.training.epochs}"

    def _card(self, config: dict[str, Any]) -> None:
        task = self.task
        parts = {"training": task.train, "validation": task.validation, "test": task.test}
        sizes = {name: part.examples for name, part in parts.items()}
        self.screen.card(
            task.title,
            {
                "data": {"dataset": task.dataset, **sizes},
                "settings": shown(self.settings),
                "devices": {**Counter(config["devices"]), "engine": summary.engine(self.cell)},
                "run": {"directory": self.directory.path},
            },
            summary.summary(task.model, task.inputs),
        )
