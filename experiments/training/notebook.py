"""Train from Python, a notebook for instance: settings as keywords, and the results as a value."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.config.cli import flag
from experiments.runs.results import Loaded, load


def fit(
    main: Callable[[list[str]], int],
    directory: Callable[[list[str]], str],
    values: Mapping[str, Any],
) -> Loaded:
    """Train as the command does with these settings, and read what the run achieved.

    Args:
        main: of the command.
        directory: of the run that a command line begins.
        values: settings by name, such as `{"cell": "gru", "bidirectional": True}`.

    Raises:
        UserError: as the command.
        KeyboardInterrupt: the training was stopped; what it had is saved.
    """
    args = arguments(values)
    if main(args):
        raise KeyboardInterrupt("the training was stopped and saved; resume=True goes on")
    return load(directory(args))


def arguments(values: Mapping[str, Any]) -> list[str]:
    """The command line that says the same; a setting of None is left out."""
    args = []
    for name, value in values.items():
        if isinstance(value, bool):
            args.append(flag(name if value else f"no_{name}"))
        elif value is not None:
            args += [flag(name), *map(str, value if isinstance(value, list | tuple) else [value])]
    return args
