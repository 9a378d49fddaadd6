"""`--config RUN/config.json`: the flags that a run was started with, to start it again."""

import json
from pathlib import Path

from experiments.cli import UserError, flag
from experiments.rundir import FREE


def arguments(file: str | Path, task: str) -> list[str]:
    """The command line that a `config.json` stands for, but for where the run lay.

    They are parsed like any others, so that a file from anywhere is held to the same bounds.

    Raises:
        UserError: the file cannot be read, or is no config of this task.
    """
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--config {file} cannot be read ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise UserError(f"--config {file} is no config.json of a run: it has no settings")
    if config.get("task") != task:
        raise UserError(
            f"--config {file} is of a run of {config.get('task')}; this is experiments.{task}"
        )
    words = []
    for name, value in config["settings"].items():
        if name in FREE or value is None:
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        else:
            words += [flag(name), str(value)]
    return words
