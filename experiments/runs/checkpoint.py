"""Keeps the checkpoints of a run: says which steps there are, and whether they are good.

A step is one sealed directory (`storage.verified_arrays`), `checkpoints/1200/`. Orbax moves the
arrays; which steps there are, which are kept and when one counts is decided here, because Orbax's
managers (orbax-checkpoint 0.12) take an empty or half-deleted directory for the latest step, fail
to open over bad JSON in an old one, and answer a step below the latest with a silent False.

- A step is written beside the others, read back, and appears by one rename.
- It is deleted by a rename first; a kill at any moment leaves whole steps and `tmp-` rubbish.
- Kept are the newest two (so that a damaged one never costs the run) and the best one. Scores
  are in the files, so that this holds after a restart.
- A damaged step is said and renamed to `1200.bad`, never loaded and never deleted.
"""

import contextlib
import itertools
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.cli import UserError
from experiments.storage import verified_arrays
from experiments.storage.files import sync
from experiments.storage.verified_arrays import DamagedError, PyTree

STEP = re.compile(r"(0|[1-9][0-9]*)(?:-([1-9][0-9]*))?")  # 1200; 1200-1 when saved once more
ASIDE = re.compile(STEP.pattern + r"\.bad[0-9]*")
PARTIAL = re.compile(r"tmp-" + STEP.pattern)


class Step(NamedTuple):
    """A directory that is named like a step, good or not."""

    number: int
    revision: int
    path: Path


class Record(NamedTuple):
    """A step whose manifest is good."""

    step: Step
    manifest: verified_arrays.Manifest
    score: float | None
    meta: dict[str, Any]


class Verdict(NamedTuple):
    """One line of `verify`."""

    step: str
    good: bool
    text: str


class Checkpoints:
    """The steps in one directory, which the first `save` makes. One writer at a time.

    With several processes the first one saves (arrays that it can see whole); all may restore.
    """

    def __init__(self, directory: Path, *, keep: int = 2):
        self.directory = Path(directory).absolute()
        self.keep = keep

    def save(self, step: int, arrays: PyTree, meta: dict[str, Any], *, score: float | None) -> None:
        """Write a step; on return it is on disk and was read back. `UserError` where it cannot.

        `arrays` is any tree of arrays and numbers, `meta` what JSON can hold. Higher scores are
        better; None and NaN are never best. A step saved again replaces itself, with its score, in
        one rename; one below the newest is refused. What was there stays until the new is complete.
        """
        if step < 0:
            raise ValueError(f"step is {step}; the first is 0")
        newest = self.latest()
        if newest is not None and step < newest:
            raise UserError(
                f"cannot save step {step}: {self.directory} holds step {newest} already; "
                "continue from that one or use another directory"
            )
        score = None if score is None or math.isnan(score) else float(score)
        partial = self.directory / f"tmp-{step}"
        try:
            self._sweep()
            verified_arrays.write(partial, arrays, {"step": step, "score": score, "meta": meta})
            os.rename(partial, self._target(step))
            sync(self.directory)
        except TypeError:
            raise  # not a fault of the disk: a leaf or `meta` that cannot be written
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise UserError(
                f"cannot save step {step} in {self.directory} ({verified_arrays.line(error)}); "
                + ("earlier steps are still there" if self.steps() else "there is no earlier one")
            ) from error
        self._retain()

    def steps(self) -> list[int]:
        """The steps whose manifest is good, oldest first; their arrays are not read."""
        return sorted(self._good())

    def latest(self) -> int | None:
        """The newest of `steps()`."""
        return max(self._good(), default=None)

    def best(self) -> int | None:
        """The one of `steps()` with the highest score; of equal ones the first."""
        return _best(self._good())

    def restore(
        self, step: int, like: PyTree, *, part: bool = False
    ) -> tuple[PyTree, dict[str, Any]]:
        """The arrays of a step, in the form of `like`, and its `meta`."""
        for found in _found(self.directory):
            if found.number == step:
                return _restore(found, like, part=part)
        raise UserError(f"no step {step} in {self.directory}, only {self.steps()}")

    def restore_newest(
        self, like: PyTree, say: Callable[[str], None]
    ) -> tuple[int, PyTree, dict[str, Any]] | None:
        """The newest good step; None where nothing was ever saved. Damaged ones are set aside."""
        for step in _found(self.directory):
            try:
                return step.number, *_restore(step, like)
            except DamagedError as error:
                say(f"{error}; {self._set_aside(step)}")
        self._refuse_damaged()
        return None

    def restore_best(
        self, like: PyTree, say: Callable[[str], None], *, part: bool = True
    ) -> tuple[int, PyTree, dict[str, Any]]:
        """The best good step (where none has a score, the newest); changes no file."""
        good = self._good()
        while good:
            best = _best(good)
            record = good.pop(max(good) if best is None else best)
            try:
                return record.step.number, *_restore(record.step, like, part=part)
            except DamagedError as error:
                say(f"{error}; using the next best step")
        self._refuse_damaged()
        raise UserError(f"no checkpoint in {self.directory}; train the run first")

    def _refuse_damaged(self) -> None:
        bad = [step.path for step in _found(self.directory)] + _aside(self.directory)
        if bad:
            raise UserError(f"every checkpoint is damaged: {', '.join(map(str, bad))}")

    def _records(self) -> list[Record]:
        """The steps with a good manifest, newest first, in all their revisions."""
        records = []
        for step in _found(self.directory):
            with contextlib.suppress(DamagedError):
                records.append(_record(step))
        return records

    def _good(self) -> dict[int, Record]:
        """The steps with a good manifest, each in its last revision."""
        return {record.step.number: record for record in reversed(self._records())}

    def _target(self, step: int) -> Path:
        """A free name for the step, newer than those that it has."""
        newest = max((s.revision for s in _found(self.directory) if s.number == step), default=-1)
        names = (f"{step}-{r}" if r else str(step) for r in itertools.count(newest + 1))
        return next(path for name in names if not os.path.lexists(path := self.directory / name))

    def _set_aside(self, step: Step) -> str:
        names = (f"{step.path.name}.bad{count or ''}" for count in itertools.count())
        path = next(p for name in names if not os.path.lexists(p := self.directory / name))
        try:
            os.rename(step.path, path)
        except OSError as error:
            return f"left there ({verified_arrays.line(error)})"
        return f"set aside as {path.name}"

    def _retain(self) -> None:
        """Delete the steps that are neither among the newest nor best; damaged ones stay."""
        records = self._records()  # read once: what cannot be read now is not deleted either
        good = {record.step.number: record for record in reversed(records)}
        numbers = {*sorted(good)[-self.keep :], _best(good)}
        kept = [good[number] for number in numbers if number is not None]
        for record in records:
            # What cannot be deleted now is tried again after the next save.
            with contextlib.suppress(OSError):
                if record not in kept:
                    path = record.step.path
                    os.rename(path, self.directory / f"tmp-{path.name}")
        self._sweep()

    def _sweep(self) -> None:
        """Remove what an interrupted save or deletion left."""
        for path in _entries(self.directory):
            if PARTIAL.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def verify(directory: Path) -> list[Verdict]:
    """A verdict on each step of a run (or of its `checkpoints`), newest first; changes no file."""
    directory = Path(directory).absolute()
    if (directory / "checkpoints").is_dir():
        directory /= "checkpoints"
    best, verdicts = Checkpoints(directory).best(), []
    for step in _found(directory):
        try:
            record = _record(step)
            arrays = verified_arrays.read_arrays(step.path, record.manifest)
        except UserError as error:
            verdicts.append(Verdict(step.path.name, False, str(error)))
            continue
        size = sum(array.nbytes for array in arrays.values()) / 1e6
        score = "no score" if record.score is None else f"score {record.score:.6g}"
        mark = ", the best" if step.number == best else ""
        text = f"good: {len(arrays)} arrays, {size:.1f} MB, {score}{mark}"
        verdicts.append(Verdict(step.path.name, True, text))
    aside = [Verdict(path.name, False, "damaged, set aside") for path in _aside(directory)]
    return verdicts + aside


def newest_meta(directory: Path) -> tuple[Path, dict[str, Any]] | None:
    """Where the newest step with a good manifest is, and its `meta`; no array is read."""
    for step in _found(directory):
        with contextlib.suppress(DamagedError):
            return step.path, _record(step).meta
    return None


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {directory}: {verified_arrays.line(error)}") from error


def _found(directory: Path) -> list[Step]:
    """The directories named like steps, newest first."""
    named = [(path, STEP.fullmatch(path.name)) for path in _entries(directory)]
    try:
        found = [Step(int(m[1]), int(m[2] or 0), path) for path, m in named if m and path.is_dir()]
    except OSError as error:
        raise UserError(f"cannot read {directory}: {verified_arrays.line(error)}") from error
    return sorted(found, reverse=True)


def _aside(directory: Path) -> list[Path]:
    return [path for path in _entries(directory) if ASIDE.fullmatch(path.name)]


def _record(step: Step) -> Record:
    manifest = verified_arrays.read_manifest(step.path)
    number, score, meta = (manifest.content.get(key) for key in ("step", "score", "meta"))
    if not isinstance(meta, dict) or not isinstance(score, float | None):
        raise DamagedError(f"{step.path} is no checkpoint of this program")
    if number != step.number:
        raise DamagedError(f"{step.path} holds step {number}")
    return Record(step, manifest, score, meta)


def _best(good: Mapping[int, Record]) -> int | None:
    scores = [(r.score, -number) for number, r in good.items() if r.score is not None]
    return -max(scores)[1] if scores else None


def _restore(step: Step, like: PyTree, *, part: bool = False) -> tuple[PyTree, dict[str, Any]]:
    record = _record(step)
    return verified_arrays.restore(step.path, record.manifest, like, part=part), record.meta
