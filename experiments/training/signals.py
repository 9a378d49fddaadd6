"""SIGINT, SIGTERM and SIGHUP as a question that a loop can ask between two steps."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGHUP: the terminal was closed. Not on Windows.
NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def watch() -> Iterator[list[int]]:
    """Collect them in the list; the second one acts as if nobody watched.

    One that is ignored stays ignored: `nohup` and a shell's `&` ask for that.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in NUMBERS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        # Training may be inside a long compiled call, where no exception could be raised.
        signal.signal(number, lambda *_: os._exit(128 + number))

    for number in before:
        signal.signal(number, note)
    try:
        yield came
    finally:
        restore()
