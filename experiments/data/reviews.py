"""The reviews as numbered words: what a training asks for.

The first time `load_text` reads the reviews and numbers their words, which takes seconds; the
result is kept (see `token_cache`).
"""

from typing import Literal, NamedTuple

from experiments.config.cli import UserError
from experiments.data import sample_reviews, token_cache
from experiments.data.source import Data, Say, obtain
from experiments.data.text import FIRST_WORD, Corpus, Vocabulary, index
from experiments.data.tfds import Prepared, read

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
    except UserError as error:
        say(f"the words are not kept for the next start: {error}")
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
    train, test = sample_reviews.reviews(0, SAMPLE_TRAIN), sample_reviews.reviews(1, SAMPLE_TEST)
    return index(train, test)
