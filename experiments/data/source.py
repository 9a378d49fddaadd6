"""Chooses the data of a run: a prepared data set, one prepared now, or the built-in sample.

For every data set, `tfds` is the data set or an error; `auto` is the data set too, but where it is
neither prepared nor can be fetched, the sample, announced by a banner; `sample` is the sample, and
nothing is looked for.
"""

import shlex
import textwrap
from pathlib import Path
from typing import Literal

from experiments.config.cli import UserError
from experiments.data.prepare import Say, UnavailableError, prepare
from experiments.data.tfds import Name, Prepared, data_root, find

Data = Literal["auto", "tfds", "sample"]

# For the banner: what the sample consists of, and what its figures say nothing about.
_SAMPLE: dict[Name, tuple[str, str]] = {
    "imdb": ("generated reviews", "real reviews"),
    "mnist": ("digits drawn from fonts", "handwriting"),
}


def obtain(name: Name, data: Data, data_dir: str | None, say: Say) -> Prepared | None:
    """The prepared data set, prepared first where that has to be done; None for the sample.

    Args:
        name: which data set.
        data: `auto`, `tfds` or `sample`, as above.
        data_dir: TFDS's `data_dir`; None for TFDS's default.
        say: gets lines for the user.

    Raises:
        UserError: the data cannot be read or is damaged; for `tfds` also where it cannot be had.
    """
    if data == "sample":
        return None
    root = data_root(data_dir)
    prepared = find(name, root)
    if prepared is not None:
        return prepared
    # A directory that the user named and that is not there is more likely misspelt than meant to
    # be new.
    if data_dir is not None and not root.exists():
        raise UserError(
            f"--data-dir {root} does not exist; correct it, or make it with "
            f"`python -m experiments.data prepare {name} --data-dir {shlex.quote(str(root))}`"
        )
    try:
        return prepare(name, root, say)
    except UnavailableError as reason:
        if data == "tfds":
            raise
        say(_banner(name, root, str(reason)))
        return None


def _banner(name: Name, root: Path, reason: str) -> str:
    sample, reality = _SAMPLE[name]
    rows = [
        f"THIS IS NOT {name.upper()}. The data is the BUILT-IN SAMPLE: {sample}.",
        f"Its figures say nothing about {reality}.",
        f"{name.upper()} is not prepared in {root}:",
        *textwrap.wrap(reason, 84, break_long_words=False, break_on_hyphens=False),
    ]
    return "\n".join(["!" * 88, *(f"!!  {row}" for row in rows), "!" * 88])
