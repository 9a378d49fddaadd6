"""Read the settings in a `config.json`, typed again and held to the bounds of the command line."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from experiments.config import imdb, mnist
from experiments.config.cli import UserError, parse
from experiments.config.settings import unflatten
from experiments.runs.directory import FREE, RunDir
from experiments.storage.files import read_json

TASKS: Mapping[str, type] = {"imdb": imdb.Settings, "mnist": mnist.Settings}

Settings = TypeVar("Settings", bound=Any)


def settings_of(directory: RunDir) -> Any:
    """The settings that a run was trained with, `imdb.Settings` or `mnist.Settings`.

    Raises:
        UserError: this is no run, one of another command, or one whose settings are damaged.
    """
    config = directory.config()
    task = str(config.get("task"))
    if task not in TASKS:
        raise UserError(f"{directory.path} is a run of {task}, which has no model")
    try:
        return unflatten(TASKS[task], _computed(config.get("settings") or {}), None)
    except UserError as mistake:
        raise UserError(f"{directory.path}/config.json: {mistake}") from None


def parse_training(
    kind: type[Settings],
    args: Sequence[str],
    task: str,
    recipes: Mapping[str, Callable[[], Settings]] | None = None,
) -> Settings:
    """Read the command line of a training, which may begin with `--recipe` or `--config`.

    Flags override the file, and the file overrides the recipe; neither says where the run lies.

    Raises:
        UserError: as `parse`; the file cannot be read, or is no config of this task.
    """
    recipes, prog = recipes or {}, f"python -m experiments.{task}"
    settings = parse(kind, args, prog=prog)
    fields = {} if settings.config is None else _fields(settings.config, task)
    recipe = recipes.get(getattr(settings, "recipe", None) or fields.get("recipe", ""), kind)
    if settings.config is None and recipe is kind:
        return settings
    return parse(kind, args, prog=prog, default=unflatten(kind, fields, recipe()))


def _fields(file: str | Path, task: str) -> dict[str, Any]:
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
    return _computed(config["settings"])


def _computed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without where the run lay and on what it was computed."""
    return {name: value for name, value in fields.items() if name not in FREE}
