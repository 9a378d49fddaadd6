"""The data of the experiments: what is prepared, what to do, and the reviews as numbered words.

    python -m experiments.data status
    python -m experiments.data prepare imdb
    python -m experiments.data show imdb 2 --split test
    python -m experiments.data show mnist 2

`load_text` is what training asks. The first time it reads the reviews and numbers their words,
which takes seconds; the result is kept (see `token_cache`).
"""

import dataclasses
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from experiments import token_cache
from experiments.archives import archives, fault, manual_dir
from experiments.cli import Range, UserError, parse, run
from experiments.corpus import Corpus, index
from experiments.obtain import Data, Say, obtain
from experiments.text import FIRST_WORD, Vocabulary
from experiments.tfds_prepare import prepare
from experiments.tfds_source import BUILDERS, Name, Prepared, data_root, find, read

__all__ = ["Corpus", "TextData", "load_text"]

# As many as an LSTM needs to learn the grammar within ten epochs; a second to make.
SAMPLE_TRAIN, SAMPLE_TEST = 15_000, 2000


class TextData(NamedTuple):
    """Texts to classify: `dataset` is "imdb" or "sample", the labels are 0 (bad) and 1 (good)."""

    dataset: str
    train: Corpus
    test: Corpus
    vocabulary: Vocabulary


def load_text(data: Data, data_dir: str | None, vocabulary: int, say: Say) -> TextData:
    """Read the reviews as ids below `vocabulary`; prepare them first where that has to be done.

    Args:
      data, data_dir: see `obtain.obtain`.
      vocabulary: number of ids, the three special ones included.
      say: gets lines for the user.

    Raises:
      UserError: the data cannot be read or is damaged; for `tfds` also where it cannot be had.
    """
    if vocabulary <= FIRST_WORD:
        raise UserError(f"--vocabulary is {vocabulary}; give a number at least {FIRST_WORD + 1}")
    prepared = obtain("imdb", data, data_dir, say)
    if prepared is None:
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
    labels = [int(example["label"]) for example in examples]
    if not set(labels) <= {0, 1}:
        raise UserError(
            f"{prepared.directory} does not hold labelled reviews; delete it and run "
            "`python -m experiments.data prepare imdb`"
        )
    return texts, labels


def _sample() -> token_cache.Tokens:
    sample = importlib.import_module("experiments.sample")
    return index(sample.reviews(0, SAMPLE_TRAIN), sample.reviews(1, SAMPLE_TEST))


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
            if name in ("mnist", "digits"):
                labels, texts = _images(name, split, data_dir)
            else:
                labels, texts = _reviews(name, split, data_dir, vocabulary)
            if count > len(labels):
                raise UserError(f"count is {count}; {name} {split} has {len(labels):,}")
            for i in range(count):
                print(f"[{split} {i}] {labels[i]}: {texts(i)}\n")


Shown = tuple[Sequence[str], Callable[[int], str]]


def _reviews(name: str, split: str, data_dir: str | None, vocabulary: int) -> Shown:
    data = load_text("sample" if name == "sample" else "tfds", data_dir, vocabulary, _say)
    corpus = data.train if split == "train" else data.test
    labels = [("negative", "positive")[label] for label in corpus.labels]
    return labels, lambda i: data.vocabulary.decode(corpus.example(i))


def _images(name: str, split: str, data_dir: str | None) -> Shown:
    from experiments.images import as_text, load_images

    data = load_images("sample" if name == "digits" else "tfds", data_dir, _say)
    images = data.train if split == "train" else data.test
    return list(map(str, images.labels)), lambda i: "\n" + as_text(images.pixels[i])


if __name__ == "__main__":
    run(_main)
