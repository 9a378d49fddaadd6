"""Shows what a person sees of a run: the card at its start, the bar, a line for each epoch.

On a terminal the bar is live; anywhere else (a file, a pipe, CI) there are plain lines only.
"""

import contextlib
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from experiments.config.cli import printable, unheard

PARTS = ("train", "val")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Tell the caller, where rich would end the process."""
        raise BrokenPipeError


class Screen:
    """Writes to standard output, or nothing at all when `quiet`.

    Where that takes no more (a full disk, a reader that has gone), nothing more is said: a training
    goes on, for its results are in its files.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console: Console = _Console(highlight=False, quiet=quiet)
        self._has_heading = False

    def say(self, line: str, style: str = "") -> None:
        """A line (or several) above the bar, if there is one; never cut."""
        lines = "\n".join(map(printable, line.split("\n")))
        self._print(Text(lines, style=style), soft_wrap=True)

    def _print(self, *what: Any, **how: Any) -> None:
        try:
            self.console.print(*what, **how)
        except OSError:
            unheard(sys.stdout)
            self.console = Console(quiet=True)

    def card(
        self, title: str, groups: Mapping[str, Mapping[str, Any]], layers: Iterable[Any]
    ) -> None:
        """The settings in groups, and the model as a table of `models.Layer`."""
        self._print()
        self._print(Text(title, style="bold"))
        card = Table.grid(padding=(0, 2), collapse_padding=True)
        card.add_column(style="cyan", no_wrap=True)
        card.add_column(overflow="fold")
        for name, pairs in groups.items():
            card.add_row(name, "  ".join(f"{key}={_value(value)}" for key, value in pairs.items()))
        self._print(card)
        table = Table(box=None, padding=(0, 2), header_style="cyan", show_footer=True)
        layers = list(layers)
        table.add_column("layer", "total")
        table.add_column("output shape")
        table.add_column("parameters", f"{sum(r.parameters for r in layers):,}", justify="right")
        for row in layers:
            table.add_row(row.name, row.output, f"{row.parameters:,}")
        self._print()
        self._print(table)
        self._print()

    def row(self, row: Mapping[str, Any], epochs: int, *, best: bool) -> None:
        """One epoch's numbers, at most 60 columns; before the first, what they are."""
        width = max(5, 2 * len(str(epochs)) + 1)
        if not self._has_heading:
            self._has_heading = True
            self.say(f"{'':{width}}  {'training':>16}  {'validation':>16}", style="cyan")
            pair = f"{'loss':>7} {'accuracy':>8}"
            self.say(f"{'epoch':>{width}}  {pair}  {pair}  seconds", style="cyan")
        pairs = [f"{row[f'{part}_loss']:>7.4f} {row[f'{part}_accuracy']:>8.2%}" for part in PARTS]
        name = f"{row['epoch']}/{epochs}"
        line = "  ".join([f"{name:>{width}}", *pairs, f"{row['seconds']:>7.1f}"])
        self.say(line + ("  best" if best else ""), style="bold" if best else "")

    @contextmanager
    def bar(self) -> Iterator["Bar"]:
        """A live bar while the block runs; a silent one where there is no terminal."""
        bar = Bar()
        if not self.console.is_terminal:
            yield bar
            return
        live = Live(bar, console=self.console, transient=True, refresh_per_second=8)
        with contextlib.suppress(OSError):
            live.start()
        try:
            yield bar
        finally:
            with contextlib.suppress(OSError):  # the terminal was closed
                live.stop()


class Pace:
    """How long steps take, without those that compile: the time left is not theirs to tell."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._steps: deque[float] = deque(maxlen=200)

    def step(self) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self._steps.append(now - self._last)
        self._last = now

    def seconds(self) -> float | None:
        """Mean of the latest steps; None before one is known that did not compile."""
        usual = 5 * statistics.median(self._steps) if len(self._steps) > 1 else 0.0
        steps = [seconds for seconds in self._steps if seconds <= usual]
        return statistics.fmean(steps) if steps else None


class Bar:
    """Epoch, progress in it, loss, accuracy, validation, speed and time left, on one line."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._done, self._total = 0, 1

    def update(
        self,
        epoch: str,
        done: int,
        total: int,
        *,
        numbers: Iterable[str] = (),
        rate: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """`done` of `total` steps of this epoch (or of its evaluation); `rate` in examples/s."""
        self._done, self._total = done, max(total, 1)
        left = [] if seconds_left is None else [f"{_clock(seconds_left)} left"]
        speed = [f"{rate:,.0f} examples/s"] if rate else []
        # What matters least stands last: a narrow terminal cuts it off.
        self._parts = [epoch, *numbers, *left, *speed]

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1, min_width=6)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row(ProgressBar(total=self._total, completed=self._done), "  ".join(self._parts))
        return grid


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
