"""Trains from Python, a notebook for instance: settings as keywords, and the results as a value."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.config.cli import UserError, flag
from experiments.runs.results import Loaded, load
from experiments.training.command import directory_of
from experiments.training.task import Settings


def fit(
    main: Callable[[list[str]], int],
    parse: Callable[[list[str]], Settings],
    name: Callable[[Any], str],
    values: Mapping[str, Any],
) -> Loaded:
    """Train as the command does with these settings, and read what the run achieved.

    Args:
        main, parse, name: of the command: what trains, what reads a command line, and what a run
            with given settings is called.
        values: settings by name, such as `{"cell": "gru", "bidirectional": True}`.

    Raises:
        UserError: as the command; `seeds`, which make more than one run.
        KeyboardInterrupt: the training was stopped; what it had is saved.
    """
    args = arguments(values)
    settings = parse(args)
    if settings.run.seeds is not None:
        raise UserError("--seeds makes several runs; call fit once for each, with seed=")
    if main(args):
        raise KeyboardInterrupt("the training was stopped and saved; resume=True goes on")
    return load(directory_of(settings, name(settings)))


def arguments(values: Mapping[str, Any]) -> list[str]:
    """The command line that says the same; a setting of None is left out."""
    args = []
    for name, value in values.items():
        if isinstance(value, bool):
            args.append(flag(name if value else f"no_{name}"))
        elif value is not None:
            args += [flag(name), *map(str, value if isinstance(value, list | tuple) else [value])]
    return args
