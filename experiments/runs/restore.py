"""The settings in a `config.json`, held to the bounds of the command line: from anywhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError, flag, parse
from experiments.config.settings import flatten
from experiments.runs.directory import FREE, RunDir, read_json


def arguments(file: str | Path, task: str) -> list[str]:
    """`--config RUN/config.json`: the flags that a run was started with, to start it again.

    They are parsed like any others, and leave out where the run lay.

    Raises:
        UserError: the file cannot be read, or is no config of this task.
    """
    try:
        config = read_json(Path(file))
    except UserError as error:
        raise UserError(f"--config {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise UserError(f"--config {file} is no config.json of a run: it has no settings")
    if config.get("task") != task:
        raise UserError(
            f"--config {file} is of a run of {config.get('task')}; this is experiments.{task}"
        )
    return _words(config["settings"])


def settings_of(directory: RunDir, config: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The flat settings in a run's config, as its command would take them.

    Raises:
        UserError: one is of a wrong type or out of bounds; there are none.
    """
    found = config.get("settings") or {}
    known = flatten(kind())
    try:
        parsed = flatten(parse(kind, _words({k: v for k, v in found.items() if k in known})))
    except UserError as mistake:
        raise UserError(f"{directory.path}/config.json: {mistake}") from None
    # Not the defaults of what it lacks: they may have been others when it ran.
    return {name: parsed[name] for name in found if name in known}


def _words(settings: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in settings.items():
        if name in FREE or value is None:
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        elif name in ("help", "h"):
            raise UserError(f"{name} is no setting; delete it")
        else:
            # In one word, so that no value is taken for a flag.
            words.append(f"{flag(name)}={value if isinstance(value, str) else json.dumps(value)}")
    return words
