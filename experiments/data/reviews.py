"""Loads the reviews as numbered words, for a training.

The first time the reviews are read and their words numbered, which takes seconds; the result is
kept (see `storage.array_cache`).
"""

import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data import sample_reviews
from experiments.data.raw import Archives
from experiments.data.source import Data, Say, manner, obtain, other_data, read
from experiments.data.text import FIRST_WORD, TOKENIZER, Corpus, Vocabulary, index
from experiments.data.tfds import Prepared, Split
from experiments.storage import array_cache

# As many as an LSTM needs to learn the grammar within ten epochs; a second to make.
SAMPLE_TRAIN, SAMPLE_TEST = 15_000, 2000

# Raise it when the arrays below change.
_LAYOUT = 1

Tokens = tuple[Corpus, Corpus, Vocabulary]


CLASSES = ("negative", "positive")


class TextData(NamedTuple):
    """Texts to classify.

    Attributes:
        dataset: "imdb", "sample", or the name of a file or directory of the user's own.
        train, test: the texts.
        vocabulary: the words of the training part.
        classes: what the labels 0, 1 ... are called.
        digests: SHA-256 of the user's own files, by what they are.
    """

    dataset: str
    train: Corpus
    test: Corpus
    vocabulary: Vocabulary
    classes: tuple[str, ...] = CLASSES
    digests: Mapping[str, str] = {}

    @property
    def is_own(self) -> bool:
        """Whether these are texts of the user's own."""
        return bool(self.digests)


def load_text(data: Data, data_dir: str | None, vocabulary: int, say: Say) -> TextData:
    """Read the reviews as ids below `vocabulary`; prepare them first where that has to be done.

    Args:
        data, data_dir: see `source.obtain`.
        vocabulary: number of ids, the three special ones included.
        say: gets lines for the user.

    Raises:
        UserError: the data cannot be read or is damaged; for `tfds` also where it cannot be had.
    """
    if vocabulary <= FIRST_WORD:
        raise UserError(f"--vocabulary is {vocabulary}; give a number at least {FIRST_WORD + 1}")
    prepared = obtain("imdb", data, data_dir, say)
    if prepared is None:
        dataset, make = "sample", sample_reviews.reviews
        train, test, words = index(make(0, SAMPLE_TRAIN), make(1, SAMPLE_TEST))
    else:
        dataset = "imdb"
        train, test, words = _tokens(prepared, say)
    size = vocabulary
    return TextData(dataset, train.limit(size), test.limit(size), words.first(size))


def _tokens(prepared: Prepared | Archives, say: Say) -> Tokens:
    """The numbered words of all reviews, kept from an earlier start if there was one."""

    def make() -> array_cache.Arrays:
        say(f"reading the reviews and numbering their words, once{manner(prepared)}")
        return _pack(*index(_texts(prepared, "train"), _texts(prepared, "test")))

    made_by = prepared.fingerprint(), TOKENIZER, _LAYOUT, unicodedata.unidata_version
    return array_cache.kept(array_cache.cache_path("imdb", *made_by), _unpack, make, say)


def _pack(train: Corpus, test: Corpus, vocabulary: Vocabulary) -> array_cache.Arrays:
    words = "".join(f"{word}\n" for word in vocabulary.words).encode()
    return array_cache.pack(train=train, test=test) | {"words": np.frombuffer(words, np.uint8)}


def _unpack(arrays: array_cache.Arrays) -> Tokens:
    train, test = (array_cache.unpack(arrays, Corpus, split) for split in ("train", "test"))
    for corpus in (train, test):
        if corpus.offsets[-1] != len(corpus.tokens) or len(corpus.lengths) != len(corpus.labels):
            raise ValueError("the offsets are not those of the tokens")
    words = arrays["words"].tobytes().decode("utf-8").split("\n")[:-1]
    return train, test, Vocabulary(tuple(words))


def _texts(prepared: Prepared | Archives, split: Split) -> tuple[list[str], list[int]]:
    examples = read(prepared, split)
    texts = [example["text"].decode("utf-8", "replace") for example in examples]
    labels = [int(example["label"]) for example in examples]
    if not set(labels) <= {0, 1}:
        raise other_data(prepared, "labelled reviews")
    return texts, labels
