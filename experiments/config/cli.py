"""Reads settings from the command line, and says in one line what is wrong with them.

Every command exits with 0 when it did its work, 2 when the input was at fault (one line on
standard error that names the field, the value and what to do) and 130 after Ctrl-C.
Nothing here imports jax, so that `--help` answers at once.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TextIO, TypeVar

import tyro

from experiments.config import help
from experiments.config.begin import INSTALL, is_command

Settings = TypeVar("Settings")


class UserError(Exception):
    """Something the user can mend. The message is one line: field, value, what to do."""


class Range(NamedTuple):
    """The numbers a setting may take, `low <= x <= high`; goes into `Annotated[int, Range(1)]`."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def allows(self, x: float) -> bool:
        """Whether `x` is a finite number inside."""
        above = x > self.low if self.open_low else x >= self.low
        below = x < self.high if self.open_high else x <= self.high
        # An integer is finite, and may be too large to be asked.
        return above and below and (isinstance(x, int) or math.isfinite(x))

    def __str__(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {_number(self.low)}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.open_high else 'at most'} {_number(self.high)}"


def _number(x: float) -> str:
    """A bound as one would type it, to the last digit: 2147483647."""
    return f"{x:.15g}"


# What `path` says that a setting names: the shell opens `~` only where it begins a word.
PLACES = ("DIR", "FILE", "NAME", "PNG", "RUN")


class Kind(NamedTuple):
    """The texts that a setting may be; goes into `Annotated`, as `Range` does."""

    allows: Callable[[str], bool]
    words: str


def path(default: str, *, metavar: str = "DIR") -> Any:
    """For `Annotated`: how `--help` shows an optional path that is None when not given."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def flag(name: str) -> str:
    """The command line's spelling of a field."""
    return "--" + name.replace("_", "-")


def check_ranges(settings: object) -> None:
    """Raise `UserError` for the first field that lies outside the `Range` in its annotation.

    Fields that are dataclasses themselves (groups of settings) are checked, too.
    """
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            check_ranges(value)
        _check_range(type(settings), field.name, value)
        # Here alone: a run must be read where the files that it was trained on are not.
        for bound in _bounds(type(settings), field.name):
            if isinstance(bound, Kind) and value is not None and not bound.allows(value):
                raise UserError(f"{flag(field.name)} is {value or 'empty'}; give {bound.words}")


def checked(settings: type, name: str, value: Any) -> Any:
    """Return a value that came from a file, if the field `name` of `settings` may have it.

    Raises:
        UserError: a value of another type, or out of bounds.
    """
    import typeguard

    hint = typing.get_type_hints(settings)[name]
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    try:
        # To Python, and hence to typeguard, a truth value is a number.
        if isinstance(value, bool) and bool not in kinds:
            raise typeguard.TypeCheckError("a truth value")
        typeguard.check_type(value, hint)
    except typeguard.TypeCheckError:
        words = ", ".join(_WORDS.get(kind, str(kind)) for kind in kinds)
        choice = "one of " if kinds[0] not in _WORDS else ""
        raise UserError(f"{flag(name)} is {value!r:.100}; give {choice}{words}") from None
    _check_range(settings, name, value)
    return float(value) if float in kinds and value is not None else value


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _bounds(settings: type, name: str) -> tuple[Any, ...]:
    return typing.get_args(typing.get_type_hints(settings, include_extras=True)[name])[1:]


def _check_range(settings: type, name: str, value: Any) -> None:
    about = _bounds(settings, name)
    shown = name if tyro.conf.Positional in about else flag(name)
    for bound in about:
        if isinstance(bound, Range) and value is not None and not bound.allows(value):
            raise UserError(f"{shown} is {value}; give a number {bound}")


def parse(
    settings: type[Settings],
    args: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    default: Settings | None = None,
) -> Settings:
    """Read `settings` (a dataclass) from the command line; `UserError` where that cannot be done.

    Flags override `default`; without one, the dataclass's own defaults.

    tyro draws a box of several lines around a mistake; its text is put on one line here.
    """
    args = sys.argv[1:] if args is None else args
    if help.asked(args):
        help.show(settings, args, prog, default)
    complaint = io.StringIO()
    # tyro's box is of other marks where standard output is not "utf-8", as in a notebook.
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(printed):
            base: dict[str, Any] = {} if default is None else {"default": default}
            parsed = tyro.cli(settings, args=args, prog=prog, description=None, **base)
    except SystemExit as stop:
        if not stop.code:
            printed.seek(0)
            print(printed.read(), end="")
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    check_ranges(parsed)
    return _with_places(parsed)


def _with_places(settings: Any) -> Any:
    """The settings with `~` in each directory and file as the home that it stands for."""
    changed: dict[str, Any] = {}
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, bounds = getattr(settings, field.name), typing.get_args(hints[field.name])[1:]
        if dataclasses.is_dataclass(value):
            changed[field.name] = _with_places(value)
        elif isinstance(value, str) and any(map(_is_of_place, bounds)):
            if not value:
                raise UserError(f"{flag(field.name)} is empty; give a name, or leave it out")
            changed[field.name] = os.path.expanduser(value)
    return dataclasses.replace(settings, **changed)


def _is_of_place(bound: Any) -> bool:
    return (getattr(bound, "metavar", None) or "").endswith(PLACES)


def _one_line(box: str) -> str:
    """The mistake and, if there is one, the suggestion out of tyro's box."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", box)
    rows = [row.strip("│ ").strip() for row in bare.splitlines() if row[:1] == "│"]
    parts = " ".join("|" if set(row) <= {"─"} else row for row in rows).split("|")
    message = parts[0].strip().rstrip(".") or bare.strip()
    # tyro repeats the whole help of what is missing.
    if missing := re.match(r"Missing from .*?: (\S+)", message):
        message = f"{missing.group(1).strip('{}')} is missing"
    message = message.replace("Expected 1 values", "Expected 1 value")
    message = re.sub(r"'None', |, 'None'(?=[,)])", "", message)  # nobody types that
    similar = re.search(r"Perhaps you meant:\s*(--\S+)", bare.replace("│", " "))
    if similar:
        return f"{message}; did you mean {similar.group(1)}?"
    return f"{message}; see --help"


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and exit with its status; a mistake is one line and status 2."""
    _open_streams()
    text = ""
    try:
        code = main() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be said
    except UserError as mistake:
        code, text = 2, f"error: {mistake}"
    except KeyboardInterrupt:
        code, text = 130, "interrupted"
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name in ("", "experiments", "jaxrnn"):
            raise
        code, text = 2, f"error: {name} is not installed; {INSTALL}"
    except BrokenPipeError:
        # The reader (`| head`) has gone.
        code = 141
        unheard(sys.stdout)
    except OSError as mistake:
        # A full disk, a name too long for the file system: whatever no command could foresee.
        where = f"{mistake.filename}: " if mistake.filename else ""
        code, text = 2, f"error: {where}{mistake.strerror or mistake}"
        if not where and _is_homeless():
            text = "error: the working directory is gone; change into one that is there"
        unheard(sys.stdout)
    except Exception as mistake:
        if not isinstance(mistake, MemoryError) and "RESOURCE_EXHAUSTED" not in str(mistake):
            raise
        code, text = 2, "error: there is not enough memory; give smaller numbers"
    if text:
        with contextlib.suppress(OSError):
            print(printable(text), file=sys.stderr, flush=True)
    if code and is_command():
        unheard(sys.stdout)
        os._exit(code)  # jax may be computing still, and Python would end under it
    sys.exit(code)


def _is_homeless() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def printable(text: str) -> str:
    """On one line, with control characters shown: names and files from elsewhere may hold any."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: repr(m[0])[1:-1], text)


def unheard(stream: TextIO | None) -> None:
    """Let what is still to be written to a stream that takes no more go nowhere, without a word.

    Else Python itself complains at exit, with a status of its own.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()  # type: ignore[union-attr]
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def _open_streams() -> None:
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed (`>&-`): the next file that is opened would get its number, and its output.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name or a bar that the terminal's encoding lacks is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
