"""Reads the settings in a `config.json`, typed again and held to the bounds of the command line."""

import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from experiments.config import imdb, mnist
from experiments.config.cli import UserError, flag, parse
from experiments.config.settings import flatten, unflatten
from experiments.data import images, reviews
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


def classes_of(directory: RunDir) -> tuple[str, ...]:
    """What the labels of a run are called; a run that did not write it down is of its task's own.

    Raises:
        UserError: this is no run, or its names are no two different texts.
    """
    config = directory.config()
    own = map(str, range(images.CLASSES)) if config.get("task") == "mnist" else reviews.CLASSES
    names = tuple(config.get("classes", own))
    if not all(isinstance(name, str) for name in names) or len(set(names)) < max(2, len(names)):
        raise UserError(
            f"{directory.path}/config.json: classes are {names!r:.100}; give two different names, "
            "or more"
        )
    return names


def parse_training(
    kind: type[Settings],
    args: Sequence[str],
    task: str,
    recipes: Mapping[str, Callable[[], Settings]] | None = None,
) -> Settings:
    """Read the command line of a training, which may begin with `--recipe` or `--config`.

    Flags override the file, and the file overrides the recipe; neither says where the run lies.
    `--resume RUN` takes everything from that run.

    Raises:
        UserError: as `parse`; the file cannot be read, or is no config of this task; a flag that
            does nothing.
    """
    recipes, prog = recipes or {}, f"python -m experiments.{task}"
    args, resumed = _resumed(args)
    base = None if resumed is None else _settings_to_resume(kind, resumed, task)
    settings = parse(kind, args, prog=prog, default=base)
    if base is None:
        fields = {} if settings.config is None else _fields(settings.config, task)
        if fields and _given(args, "recipe"):
            raise UserError("--config and --recipe both say what to begin with; give one of them")
        recipe = recipes.get(getattr(settings, "recipe", None) or fields.get("recipe", ""), kind)
        if settings.config is not None or recipe is not kind:
            settings = parse(kind, args, prog=prog, default=unflatten(kind, fields, recipe()))
    _refuse_idle(settings, args)
    return settings


def _resumed(args: Sequence[str]) -> tuple[list[str], str | None]:
    """`--resume RUN` as `--run-dir RUN --resume`, and the run; None where it names none."""
    args = [
        word
        for arg in args
        for word in (arg.split("=", 1) if arg.startswith("--resume=") else [arg])
    ]
    for n, (word, run) in enumerate(itertools.pairwise(args)):
        if word == "--resume" and not run.startswith("-"):
            return [*args[:n], "--run-dir", run, "--resume", *args[n + 2 :]], run
    return args, None


def _settings_to_resume(kind: type[Settings], run: str, task: str) -> Settings:
    """All settings of a run, also those that are free: but not which process this is."""
    directory = RunDir(os.path.expanduser(run))
    if not directory.holds_run():
        raise UserError(
            f"--resume {run} is no run: it has no config.json; name a run, or begin one with "
            "--run-dir and its settings"
        )
    fields = _fields(directory.path / "config.json", task, where="--resume", free=IDENTITY)
    return unflatten(kind, fields, kind())


# What says which process of which run this is.
IDENTITY = {"run_dir", "resume", "config", "seeds", "coordinator", "processes", "process_id"}

# Settings that do something only beside another one: which, when, and what to do.
IDLE: Sequence[tuple[Sequence[str], Callable[[Any], bool], str]] = (
    (
        ("units", "layers", "bidirectional"),
        lambda settings: settings.model.cell == "none",
        "shapes a recurrent cell, and --cell is none",
    ),
    (
        ("seed",),
        lambda settings: settings.run.seeds is not None,
        "says one, and --seeds says which",
    ),
    (
        ("weight_decay",),
        lambda settings: settings.training.optimizer != "adamw",
        "is for --optimizer adamw alone",
    ),
    (
        ("epsilon",),
        lambda settings: settings.training.optimizer == "sgd",
        "is not for --optimizer sgd",
    ),
    (
        ("max_skipped",),
        lambda settings: settings.training.on_nan != "skip",
        "counts what --on-nan skip leaves out",
    ),
)


def _refuse_idle(settings: Any, args: Sequence[str]) -> None:
    """Raise `UserError` for a flag that was given and changes nothing."""
    now, default = flatten(settings), flatten(type(settings)())
    for names, is_idle, why in IDLE:
        for name in names:
            if is_idle(settings) and _given(args, name) and now[name] != default[name]:
                raise UserError(f"{flag(name)} {why}; change that, or leave {flag(name)} out")


def _given(args: Sequence[str], name: str) -> bool:
    return any(arg.split("=")[0].replace("_", "-") == flag(name) for arg in args)


def _fields(
    file: str | Path, task: str, *, where: str = "--config", free: Collection[str] = FREE
) -> dict[str, Any]:
    """The settings in a `config.json` of this task, without those that are `free`."""
    try:
        config = read_json(Path(file))
    except UserError as error:
        raise UserError(f"{where} {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise UserError(f"{where} {file} is no config.json of a run: it has no settings")
    if config.get("task") != task:
        raise UserError(
            f"{where} {file} is of a run of {config.get('task')}; this is experiments.{task}"
        )
    return {name: value for name, value in config["settings"].items() if name not in free}


def _computed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without where the run lay and on what it was computed."""
    return {name: value for name, value in fields.items() if name not in FREE}
