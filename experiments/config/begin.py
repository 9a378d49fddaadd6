"""Prepares the process of a command before anything heavy is imported: Ctrl-C, what is installed.

Imports of a second run callbacks of C, where Python drops a `KeyboardInterrupt` with a remark, and
what jax computes while Python ends is a segmentation fault. So a command that holds nothing leaves
at once, and only a block that has something to give back is unwound.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INSTALL = "pip install -e '.[experiments]' installs all that the commands need"
# What commands import before they read their arguments.
NEEDED = ("tyro", "numpy", "jax", "flax", "filelock", "matplotlib", "rich")


def is_command() -> bool:
    """Whether this process is one of the commands, and not somebody's that imports them."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name.partition(".")[0] == "experiments"


def begin() -> None:
    """Let Ctrl-C end a command at once, and one that lacks a package with a line that names it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # `nohup` ignores it
        signal.signal(signal.SIGINT, _leave)
        sys.unraisablehook = _without_interrupts
    for name in NEEDED:
        if not _is_installed(name):
            print(f"error: {name} is not installed; {INSTALL}", file=sys.stderr)
            sys.exit(2)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _leave(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(Exception):  # a pipe that is closed; or it is being written to now
        sys.stdout.flush()
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


def _without_interrupts(dropped: "sys.UnraisableHookArgs") -> None:
    """Say nothing of a Ctrl-C that Python drops: `unwinding` remembers it."""
    if not isinstance(dropped.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)


class _Raise:
    """Raises `KeyboardInterrupt`, and remembers it in case Python drops that."""

    came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` in this block, which gives back what it holds.

    Raises:
        KeyboardInterrupt: at its end, too, where one that came was dropped.
    """
    if not in_main_thread() or signal.getsignal(signal.SIGINT) is not _leave:
        yield
        return
    handler = _Raise()
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave)
    if handler.came:
        raise KeyboardInterrupt


def was_dropped() -> bool:
    """Whether a Ctrl-C came in an `unwinding` block that goes on all the same."""
    return getattr(signal.getsignal(signal.SIGINT), "came", False)


def in_main_thread() -> bool:
    """Whether signals can be asked for here: Python delivers them to the main thread."""
    return threading.current_thread() is threading.main_thread()
