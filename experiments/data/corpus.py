"""A corpus: token arrays of many texts, one behind the other, and how texts become one.

Built once from the texts and cut to any vocabulary size afterwards: words are numbered by
frequency, so a smaller vocabulary only turns the ids from `size` on into `UNKNOWN`.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.text import FIRST_WORD, START, UNKNOWN, Vocabulary, words


class Corpus(NamedTuple):
    """Example `i` has the ids `tokens[offsets[i] : offsets[i + 1]]`, `START` first.

    Fields:
      tokens: int32, all examples one behind the other.
      offsets: int64 [n + 1], from 0 to `len(tokens)`.
      labels: int32 [n].
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of ids of each example, `START` included, int64 [n]."""
        return np.diff(self.offsets)

    def example(self, i: int) -> np.ndarray:
        """The ids of example `i`, a view."""
        return self.tokens[self.offsets[i] : self.offsets[i + 1]]

    def limit(self, size: int) -> "Corpus":
        """The same texts in a vocabulary of `size` ids: others become `UNKNOWN`."""
        known = self.tokens < size
        return self._replace(tokens=np.where(known, self.tokens, np.int32(UNKNOWN)))


def index(
    train: tuple[Iterable[str], Sequence[int]], test: tuple[Iterable[str], Sequence[int]]
) -> tuple[Corpus, Corpus, Vocabulary]:
    """Number all words of the training texts and write both splits in these numbers.

    Words are counted in the training texts only: what a model may know of the test texts is
    nothing. Words of equal count stand in alphabetical order, so the numbers do not depend on
    the order of the texts.

    Args:
      train: texts and their labels.
      test: the same for the other split; words that only occur here become `UNKNOWN`.

    Returns:
      `(train, test, vocabulary)` with the vocabulary of every training word.
    """
    seen: defaultdict[str, int] = defaultdict()
    seen.default_factory = seen.__len__  # a new word gets the next number
    found, offsets = _flatten([seen[word] for word in words(text)] for text in train[0])
    train_words = list(seen)
    found_test, offsets_test = _flatten([seen[word] for word in words(text)] for text in test[0])

    counts = np.bincount(found, minlength=len(train_words))
    order = sorted(range(len(train_words)), key=lambda k: (-counts[k], train_words[k]))
    ids = np.full(len(seen), UNKNOWN, np.int32)
    ids[order] = np.arange(FIRST_WORD, FIRST_WORD + len(order), dtype=np.int32)
    vocabulary = Vocabulary(tuple(train_words[k] for k in order))
    return (
        _with_starts(ids[found], offsets, train[1]),
        _with_starts(ids[found_test], offsets_test, test[1]),
        vocabulary,
    )


def _flatten(texts: Iterable[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """All numbers one behind the other (int32), and where each text begins and ends."""
    flat, lengths = array("i"), [0]
    for numbers in texts:
        flat.extend(numbers)
        lengths.append(len(numbers))
    return np.frombuffer(flat, np.int32), np.cumsum(lengths, dtype=np.int64)


def _with_starts(ids: np.ndarray, offsets: np.ndarray, labels: Sequence[int]) -> Corpus:
    """Put `START` before every text."""
    if len(labels) != len(offsets) - 1:
        raise ValueError(f"there are {len(offsets) - 1} texts and {len(labels)} labels")
    tokens = np.insert(ids, offsets[:-1], np.int32(START))
    return Corpus(tokens, offsets + np.arange(len(offsets)), np.asarray(labels, np.int32))
