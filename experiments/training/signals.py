"""Turns SIGINT, SIGTERM and SIGHUP into a question that a loop can ask between two steps."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from experiments.config.begin import in_main_thread, was_dropped

# SIGHUP: the terminal was closed. Not on Windows.
NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def watch(lost: Callable[[], str] = lambda: "nothing is saved") -> Iterator[list[int]]:
    """Collect them in the list; the second one ends the process at once.

    One that is ignored stays ignored: `nohup` and a shell's `&` ask for that. In a thread other
    than the main one, where Python delivers none, the list stays empty.

    Args:
        lost: says what is lost where there is no time to save.
    """
    came: list[int] = [signal.SIGINT] if was_dropped() else []
    if not in_main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def end(number: int, frame: FrameType | None) -> None:
        _write(f"stopped at once: {lost()}")
        os._exit(128 + number)

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        # Training may be inside a long compiled call, where no exception could be raised.
        signal.signal(number, end)
        if number == signal.SIGINT:
            _write("stopping after this step, to save it; once more stops at once")

    for number in before:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(line: str) -> None:
    """Write to standard error past Python's buffers, which may be in use at this very moment."""
    try:
        os.write(2, f"\n{line}\n".encode(errors="backslashreplace"))
    except OSError:
        return  # the terminal was closed
