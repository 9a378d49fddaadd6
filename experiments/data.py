"""The data of the experiments: IMDB reviews through TFDS, or the built-in sample.

    python -m experiments.data status
    python -m experiments.data prepare imdb
    python -m experiments.data show imdb 2 --split test

`load_text` is what training asks. The first time it reads the reviews and numbers their words,
which takes seconds; the result is kept (see `token_cache`).
"""

import dataclasses
import importlib
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from experiments import token_cache
from experiments.archives import archives, fault, manual_dir
from experiments.cli import Range, UserError, parse, run
from experiments.corpus import Corpus, index
from experiments.text import FIRST_WORD, Vocabulary
from experiments.tfds_prepare import UnavailableError, prepare
from experiments.tfds_source import BUILDERS, Name, Prepared, data_root, find, read

__all__ = ["Corpus", "TextData", "load_text"]

Data = Literal["auto", "tfds", "sample"]
Say = Callable[[str], None]

# Enough for an LSTM to learn the grammar, and half a second to make.
SAMPLE_TRAIN, SAMPLE_TEST = 4000, 1000


class TextData(NamedTuple):
    """Texts to classify: `dataset` is "imdb" or "sample", the labels are 0 (bad) and 1 (good)."""

    dataset: str
    train: Corpus
    test: Corpus
    vocabulary: Vocabulary


def load_text(data: Data, data_dir: str | None, vocabulary: int, say: Say) -> TextData:
    """Read the reviews as ids below `vocabulary`; prepare them first where that has to be done.

    Args:
      data: `tfds` is IMDB or an error. `auto` is IMDB, but where it is neither prepared nor can
        be had within seconds, the built-in sample, announced by a banner. `sample` is the sample.
      data_dir: TFDS's `data_dir`; None for TFDS's default.
      vocabulary: number of ids, the three special ones included.
      say: gets lines for the user.

    Raises:
      UserError: the data cannot be read or is damaged; for `tfds` also where it cannot be had.
    """
    if vocabulary <= FIRST_WORD:
        raise UserError(f"--vocabulary is {vocabulary}; give a number at least {FIRST_WORD + 1}")
    if data == "sample":
        return _limited("sample", _sample(), vocabulary)
    root = data_root(data_dir)
    prepared = find("imdb", root)
    if prepared is None:
        # A directory that the user named and that is not there is more likely a slip of the pen
        # than a wish for a new one.
        if data_dir is not None and not root.exists():
            raise UserError(
                f"--data-dir {root} does not exist; correct it, or make it with "
                f"`python -m experiments.data prepare imdb --data-dir {shlex.quote(str(root))}`"
            )
        try:
            prepared = prepare("imdb", root, say)
        except UnavailableError as reason:
            if data == "tfds":
                raise
            say(_banner(root, str(reason)))
            return _limited("sample", _sample(), vocabulary)
    return _limited("imdb", _tokens(prepared, say), vocabulary)


def _limited(dataset: str, tokens: token_cache.Tokens, size: int) -> TextData:
    train, test, words = tokens
    return TextData(dataset, train.limit(size), test.limit(size), words.first(size))


def _tokens(prepared: Prepared, say: Say) -> token_cache.Tokens:
    """The numbered words of all reviews, kept from an earlier start if there was one."""
    path = token_cache.cache_path("imdb", prepared.fingerprint())
    kept = token_cache.load(path)
    if kept is not None:
        return kept
    say(f"reading and numbering the words of {sum(prepared.counts.values()):,} reviews, once")
    train, test = (_texts(prepared, split) for split in ("train", "test"))
    tokens = index(train, test)
    try:
        token_cache.save(path, tokens)
    except OSError as mistake:
        say(f"the words are not kept for the next start: {path.parent}: {mistake.strerror}")
    return tokens


def _texts(prepared: Prepared, split: Literal["train", "test"]) -> tuple[list[str], list[int]]:
    examples = read(prepared, split)
    texts = [example["text"].decode("utf-8", "replace") for example in examples]
    return texts, [int(example["label"]) for example in examples]


def _sample() -> token_cache.Tokens:
    sample = importlib.import_module("experiments.sample")
    return index(sample.reviews(0, SAMPLE_TRAIN), sample.reviews(1, SAMPLE_TEST))


def _banner(root: Path, reason: str) -> str:
    rows = [
        "THIS IS NOT IMDB. The data is the BUILT-IN SAMPLE: generated reviews.",
        "Its figures say nothing about real reviews.",
        f"IMDB is not prepared in {root}:",
        *textwrap.wrap(reason, 84, break_long_words=False, break_on_hyphens=False),
    ]
    return "\n".join(["!" * 88, *(f"!!  {row}" for row in rows), "!" * 88])


DataDir = Annotated[str | None, tyro.conf.arg(help="TFDS's data_dir (default: TFDS's own)")]


@dataclasses.dataclass(frozen=True)
class Status:
    """Say which data sets are prepared, and what to do about the others."""

    data_dir: DataDir = None


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Prepare a data set: from files put there by hand, else by download."""

    name: tyro.conf.Positional[Name]
    """Which data set."""
    data_dir: DataDir = None


@dataclasses.dataclass(frozen=True)
class Show:
    """Print reviews as the model gets them: numbered words, decoded again."""

    name: tyro.conf.Positional[Literal["imdb", "sample"]]
    """Which data set."""
    count: tyro.conf.Positional[Annotated[int, Range(1)]] = 1
    """How many reviews, from the first on."""
    split: Literal["train", "test"] = "train"
    """Which part."""
    vocabulary: Annotated[int, Range(FIRST_WORD + 1)] = 10_000
    """Number of ids, the three special ones included; other words are <unknown>."""
    data_dir: DataDir = None


Command = (
    Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Prepare, tyro.conf.subcommand("prepare")]
    | Annotated[Show, tyro.conf.subcommand("show")]
)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _status(name: Name, root: Path) -> None:
    try:
        prepared = find(name, root)
    except UserError as mistake:
        print(f"{name}: {mistake}")
        return
    if prepared is not None:
        counts = ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())
        print(f"{name}: prepared in {prepared.directory} ({counts})")
        return
    print(f"{name}: not prepared in {root / BUILDERS[name]}")
    command = f"python -m experiments.data prepare {name} --data-dir {shlex.quote(str(root))}"
    print(f"  with internet:    {command}")
    print(f"  without internet: put into {manual_dir(root)}")
    for archive in archives(name):
        path = manual_dir(root) / archive.name
        state = (fault(archive, path) or "it is there") if path.exists() else "missing"
        print(f"    {archive}\n      from {archive.url}: {state}")
    print("  and run the same command")


def _main(args: list[str] | None = None) -> None:
    command: object = parse(Command, args, prog="python -m experiments.data")  # type: ignore
    match command:
        case Status(data_dir):
            root = data_root(data_dir)
            for name in BUILDERS:
                _status(name, root)
        case Prepare(name, data_dir):
            prepared = prepare(name, data_root(data_dir), _say)
            print(f"{name}: prepared in {prepared.directory}")
        case Show(name, count, split, vocabulary, data_dir):
            data = load_text("sample" if name == "sample" else "tfds", data_dir, vocabulary, _say)
            corpus = data.train if split == "train" else data.test
            if count > len(corpus.labels):
                raise UserError(f"count is {count}; {name} {split} has {len(corpus.labels):,}")
            for i in range(count):
                label = ("negative", "positive")[corpus.labels[i]]
                print(f"[{split} {i}] {label}: {data.vocabulary.decode(corpus.example(i))}\n")


if __name__ == "__main__":
    run(_main)
