"""SIGINT and SIGTERM as a question that a loop can ask between two steps."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def watch() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the list; the second one acts as if nobody watched."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

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
