"""Chooses the data of a run: a prepared data set, one prepared now, or the built-in sample.

For every data set, `tfds` is the data set or an error; `auto` is the data set too, but where it is
neither prepared nor can be fetched, the sample, announced by a banner; `sample` is the sample, and
nothing is looked for. Where TFDS cannot prepare, the data set is its archives: the same examples.
"""

import shlex
import textwrap
from pathlib import Path
from typing import Any, Literal

from experiments.config.cli import UserError
from experiments.data import raw, tfds
from experiments.data.prepare import Say, UnavailableError, at_hand, prepare
from experiments.data.raw import Archives
from experiments.data.tfds import Name, Prepared, Split, data_root

Data = Literal["auto", "tfds", "sample"]

# For the banner: what the sample consists of, and what its figures say nothing about.
_SAMPLE: dict[Name, tuple[str, str]] = {
    "imdb": ("generated reviews", "real reviews"),
    "mnist": ("digits drawn from fonts", "handwriting"),
}


def obtain(name: Name, data: Data, data_dir: str | None, say: Say) -> Prepared | Archives | None:
    """The data set, prepared or fetched first where that has to be done; None for the sample.

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
    source = at_hand(name, root)
    if source is not None:
        return source
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


def read(source: Prepared | Archives, split: Split) -> list[dict[str, Any]]:
    """All examples of a split, text as bytes, images as uint8 arrays; see `tfds.read`.

    Raises:
        UserError: a file is missing or damaged, or does not hold what it should.
    """
    return raw.read(source, split) if isinstance(source, Archives) else tfds.read(source, split)


def manner(source: Prepared | Archives) -> str:
    """What is said of how the examples are read: nothing, where it is the usual way."""
    if isinstance(source, Prepared):
        return ""
    return f", straight from {source.directory}, as {raw.reason(source.name, source.lacking)}"


def other_data(source: Prepared | Archives, wanted: str) -> UserError:
    """The mistake that a data set is whole, and not what it is called."""
    return UserError(
        f"{source.directory} does not hold {wanted}; delete it and run `python -m experiments.data "
        f"prepare {source.name} --data-dir {shlex.quote(str(source.root))}`"
    )


def _banner(name: Name, root: Path, reason: str) -> str:
    sample, reality = _SAMPLE[name]
    rows = [
        f"THIS IS NOT {name.upper()}. The data is the BUILT-IN SAMPLE: {sample}.",
        f"Its figures say nothing about {reality}.",
        f"{name.upper()} is not prepared in {root}:",
        *textwrap.wrap(reason, 84, break_long_words=False, break_on_hyphens=False),
    ]
    return "\n".join(["!" * 88, *(f"!!  {row}" for row in rows), "!" * 88])
