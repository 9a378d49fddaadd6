"""Numbers that go wrong: a loss or a gradient that is not finite ends the run, or is left out.

The compiled step changes nothing where a number is not finite (`training.Report.finite`), so the
parameters in hand, and hence every checkpoint, are the last good ones.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

from experiments.config.cli import UserError
from experiments.config.settings import Training
from experiments.runs.directory import RunDir
from experiments.training.step import Report

FILE = "diverged.jsonl"


class Seen(NamedTuple):
    """A step whose numbers are still being computed: its number, its examples, its report."""

    step: int
    rows: np.ndarray
    report: Report


class Watch:
    """Looks at every step once, in order; writes what it finds where it has a directory."""

    def __init__(
        self,
        directory: RunDir | None,
        settings: Training,
        rate: optax.Schedule,
        say: Callable[[str], None],
    ):
        self.directory, self.settings, self.rate, self.say = directory, settings, rate, say
        self.skipped = 0

    def look(self, seen: Seen | None) -> None:
        """Nothing where all is well.

        Raises:
            UserError: a number is not finite, and such steps are not to be left out, or no more.
        """
        if seen is None or bool(np.asarray(seen.report.finite)):
            return
        self.skipped += 1
        found = self._describe(seen)
        if self.directory is not None:
            self.directory.append(FILE, json.dumps(found) + "\n")
        rows = found["examples"]
        said = (
            f"step {found['step']}: loss {found['loss']}, gradient norm {found['gradient_norm']}, "
            f"learning rate {found['learning_rate']:g}, training reviews or images "
            f"{', '.join(map(str, rows[:8]))}{' ...' if len(rows) > 8 else ''} "
            f"(all {len(rows)} in {FILE})"
        )
        if self.settings.on_nan == "skip" and self.skipped <= self.settings.max_skipped:
            self.say(f"left out {said}")
            return
        cap = (
            f"; {self.skipped} steps were left out, --max-skipped is {self.settings.max_skipped}"
            if self.settings.on_nan == "skip"
            else "; the parameters before it are kept"
        )
        raise UserError(
            f"not finite at {said}{cap}; give a --learning-rate below "
            f"{self.settings.learning_rate:g} or a --clip-norm below {self.settings.clip_norm:g}"
        )

    def _describe(self, seen: Seen) -> dict[str, Any]:
        totals = seen.report.totals
        return {
            "step": seen.step,
            # As text: JSON has no NaN.
            "loss": str(float(np.asarray(totals.loss)) / max(float(np.asarray(totals.weight)), 1)),
            "gradient_norm": str(float(np.asarray(seen.report.gradient_norm))),
            "learning_rate": float(self.rate(seen.step - 1)),
            "examples": [int(row) for row in seen.rows if row >= 0],
        }
