"""Says which data sets are prepared, prepares one, or shows what is in it.

python -m experiments.data status
python -m experiments.data prepare imdb
python -m experiments.data show imdb 2 --split test
python -m experiments.data show mnist 2
"""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.config.cli import Range, UserError, parse, path, run
from experiments.data import raw
from experiments.data.archives import archives, fault, manual_dir
from experiments.data.images import ImageData, as_text, load_images
from experiments.data.prepare import at_hand, lacking, prepare
from experiments.data.reviews import TextData, load_text
from experiments.data.source import Data
from experiments.data.text import FIRST_WORD
from experiments.data.tfds import BUILDERS, Name, Prepared, data_root

# Labels, and the text to print of each example.
Shown = tuple[Sequence[str], Callable[[int], str]]

DataDir = Annotated[str | None, path("TFDS's own")]


@dataclasses.dataclass(frozen=True)
class Status:
    """Say which data sets are there, and what to do about the others."""

    data_dir: DataDir = None
    """TFDS's data_dir."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Prepare a data set: from files put there by hand, else by download."""

    name: tyro.conf.Positional[Name]
    """Which data set."""
    data_dir: DataDir = None
    """TFDS's data_dir."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Print reviews as the model gets them, numbered words decoded again; or images."""

    name: tyro.conf.Positional[Literal["imdb", "sample", "mnist", "digits"]]
    """Which data set; sample and digits are the built-in samples of imdb and mnist."""
    count: tyro.conf.Positional[Annotated[int, Range(1)]] = 1
    """How many, from the first on."""
    split: Literal["train", "test"] = "train"
    """Which part."""
    vocabulary: Annotated[int, Range(FIRST_WORD + 1)] = 10_000
    """Number of ids, the three special ones included; other words are <unknown>."""
    data_dir: DataDir = None
    """TFDS's data_dir."""


Command = (
    Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Prepare, tyro.conf.subcommand("prepare")]
    | Annotated[Show, tyro.conf.subcommand("show")]
)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _status(name: Name, root: Path) -> None:
    try:
        source = at_hand(name, root)
        if source is not None:
            print(_ready(source))
            return
    except UserError as error:
        print(f"{name}: {error}")
        return
    package = lacking()
    print(f"{name}: not prepared in {root / BUILDERS[name]}")
    command = f"python -m experiments.data prepare {name} --data-dir {shlex.quote(str(root))}"
    print(f"  with internet:    {command}")
    print(f"  without internet: put into {manual_dir(root)}")
    for archive in archives(name):
        path = manual_dir(root) / archive.name
        state = (fault(archive, path) or "it is there") if path.exists() else "missing"
        print(f"    {archive}\n      from {archive.url}: {state}")
    if package is None:
        print("  and run the same command")
    else:
        print(f"  where a training reads them: {raw.reason(name, package)}")


def _ready(source: Prepared | raw.Archives) -> str:
    """Where a data set lies and how it is read; `UserError` where an archive is damaged."""
    if isinstance(source, raw.Archives):
        raw.check(source)
        files = ", ".join(archive.name for archive in source.paths)
        why = raw.reason(source.name, source.lacking)
        return f"{source.name}: read straight from {files} in {source.directory}, as {why}"
    counts = ", ".join(f"{count:,} {split}" for split, count in source.counts.items())
    return f"{source.name}: prepared in {source.directory} ({counts})"


def main(args: list[str] | None = None) -> None:
    """Do what was asked for."""
    command: object = parse(Command, args, prog="python -m experiments.data")  # type: ignore
    match command:
        case Status(data_dir):
            root = data_root(data_dir)
            for name in BUILDERS:
                _status(name, root)
        case Prepare(name, data_dir):
            print(_ready(prepare(name, data_root(data_dir), _say)))
        case Show(name, count, split, vocabulary, data_dir):
            data: Data = "sample" if name in ("sample", "digits") else "tfds"
            if name in ("mnist", "digits"):
                labels, texts = _images(load_images(data, data_dir, _say), split)
            else:
                labels, texts = _reviews(load_text(data, data_dir, vocabulary, _say), split)
            if count > len(labels):
                raise UserError(f"count is {count}; {name} {split} has {len(labels):,}")
            for i in range(count):
                print(f"[{split} {i}] {labels[i]}: {texts(i)}\n")


def _reviews(data: TextData, split: str) -> Shown:
    corpus = data.train if split == "train" else data.test
    labels = [data.classes[label] for label in corpus.labels]
    return labels, lambda i: data.vocabulary.decode(corpus.example(i))


def _images(data: ImageData, split: str) -> Shown:
    images = data.train if split == "train" else data.test
    return list(map(str, images.labels)), lambda i: "\n" + as_text(images.pixels[i])


if __name__ == "__main__":
    run(main)
