"""Prints a command's `--help` from its settings: the common ones, or with `--help-all` every one.

tyro draws it. But it breaks a docstring's paragraph where its source does, and takes a comment for
text; so it is given the same settings with each docstring on one line.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import shutil
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING
from typing import Annotated, Any

import tyro

HELP, ALL = {"-h", "--help"}, "--help-all"


def asked(args: Sequence[str]) -> bool:
    """Whether help is what these arguments ask for."""
    return any(arg in HELP or arg == ALL for arg in args)


def show(settings: Any, args: Sequence[str], prog: str | None, default: Any) -> typing.NoReturn:
    """Print it and exit.

    Args:
        settings: a dataclass, or a union of those that are subcommands. One with a class variable
            `COMMON`, names of settings, has a short help of these alone; those in `HIDDEN` are
            another command's.
        args: the command line.
        prog: as `usage` shows it.
        default: an instance of `settings` whose values are shown, or None.
    """
    hidden: Collection[str] = getattr(settings, "HIDDEN", ())
    common = None if ALL in args else getattr(settings, "COMMON", None)

    def is_shown(name: str) -> bool:
        return name not in hidden and (common is None or name in common)

    words = [arg for arg in args if arg not in HELP and not arg.startswith("-")]
    shown: Any = _presented(settings, is_shown)
    if common is not None:
        shown.__doc__ += f"\n\nEvery setting: {ALL}."
    base = {} if default is None else {"default": _converted(default, shown)}
    # In the terminal's encoding: tyro draws its boxes of what that has.
    text = io.TextIOWrapper(io.BytesIO(), encoding=getattr(sys.stdout, "encoding", None))
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        tyro.cli(shown, args=[*words, "--help"], prog=prog, **base)
    width = shutil.get_terminal_size().columns
    text.seek(0)
    for line in text.read().splitlines():
        print("\n".join(textwrap.wrap(line, width)))  # tyro leaves that to the terminal
    sys.exit(0)


def _presented(hint: Any, is_shown: Callable[[str], bool]) -> Any:
    """The same settings without those that are not shown, each with its docstring on one line."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *extras = typing.get_args(hint)
        return Annotated[(_presented(inner, is_shown), *extras)]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_presented(kind, is_shown) for kind in typing.get_args(hint))]  # noqa: UP007
    if not dataclasses.is_dataclass(hint):
        return hint
    assert isinstance(hint, type)
    docs, hints = _docs(hint), typing.get_type_hints(hint, include_extras=True)
    fields: list[Any] = []
    for field in dataclasses.fields(hint):
        if dataclasses.is_dataclass(field.default):
            kind = _presented(type(field.default), is_shown)
            if dataclasses.fields(kind):
                fields.append((field.name, kind, _converted(field.default, kind)))
        elif is_shown(field.name):
            about: Any = {"help": docs.get(field.name, "")}
            if behavior := _without_a_value(field, hints[field.name]):
                about["help_behavior_hint"] = behavior
            kind = Annotated[hints[field.name], tyro.conf.arg(**about)]
            default = () if field.default is MISSING else (field.default,)
            fields.append((field.name, kind, *default))
    made = dataclasses.make_dataclass(str(hint.__name__), fields, frozen=True)
    made.__doc__ = (inspect.getdoc(hint) or "").strip()
    return tyro.conf.configure(tyro.conf.OmitArgPrefixes)(made)


def _without_a_value(field: dataclasses.Field[Any], hint: Any) -> str:
    """What a list of values is when none is given; nothing where the setting says it itself."""
    if any(getattr(extra, "help_behavior_hint", None) for extra in typing.get_args(hint)[1:]):
        return ""
    if field.default == ():
        return "(default: none)"
    is_list = typing.get_origin(_bare(hint)) is tuple
    return "(at least one)" if is_list and field.default is MISSING else ""


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _converted(settings: Any, kind: Any) -> Any:
    """An instance of a presented class, with the values of one of the class it presents."""
    values = {}
    for field in dataclasses.fields(kind):
        value = getattr(settings, field.name)
        values[field.name] = (
            _converted(value, field.type) if dataclasses.is_dataclass(value) else value
        )
    return kind(**values)


def _docs(settings: Any) -> dict[str, str]:
    """The docstring below each field, on one line; a base class's where it has none of its own."""
    docs: dict[str, str] = {}
    for kind in reversed(settings.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore
        for statement, following in itertools.pairwise(body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                    docs[name] = " ".join(text.split())
    return docs
