"""Turns texts into ids: what counts as a word, the vocabulary that numbers words, and the corpus.

Ids are those of Keras's IMDB: 0 padding, 1 start, 2 unknown, words from 3 on, the most frequent
first. A text is

    START, id(w_1), ..., id(w_n)        with id(w) = UNKNOWN where w has no number.

A corpus is built once from its texts and cut to any vocabulary size afterwards: words are numbered
by frequency, so a smaller vocabulary only turns the ids from `size` on into `UNKNOWN`.
"""

import hashlib
import os
import re
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.storage.files import write_text

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 3
SPECIAL = {START: "<start>", UNKNOWN: "<unknown>"}

# Raise it with every change of `words`: the key of kept arrays holds it.
TOKENIZER = 1

BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Typographic ones, accents used in their place, and those of Windows-1252 read as Latin-1.
APOSTROPHES = "\u2018\u2019\u02bc\u00b4\u0060\x91\x92"
_STRAIGHT = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
# `[^\W_]` is a letter or digit of any script; an apostrophe counts between two of them only.
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text: str) -> list[str]:
    """Split a text into lower-case words.

    - `<br />` counts as a space: "good.<br /><br />Bad" is two words.
    - A word is a run of letters and digits. An apostrophe between two of them belongs to the word
      (don't, movie's, rock'n'roll), for "don't" is not "don"; at the ends it is a quotation mark
      or a plural and is dropped ('great' -> great, actors' -> actors). Typographic apostrophes
      count as `'`.
    - Everything else separates and is dropped: well-made -> well made, 7/10 -> 7 10, U.S. -> u s.
    - Accented letters are letters, composed (NFC): a file from macOS gives the same words.

    `words(" ".join(words(text))) == words(text)`, so what `decode` gives can be encoded again.
    """
    # Composed twice: lowering can leave a letter and its accent apart, which would split the word.
    text = unicodedata.normalize("NFC", BREAK.sub(" ", text)).lower().translate(_STRAIGHT)
    return WORD.findall(unicodedata.normalize("NFC", text))


@dataclass(frozen=True)
class Vocabulary:
    """The numbered words, the most frequent first; the id of `words[k]` is `FIRST_WORD + k`."""

    words: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of ids, the three special ones included: the rows of an embedding."""
        return FIRST_WORD + len(self.words)

    @property
    def digest(self) -> str:
        """SHA-256 of the words in their order."""
        return hashlib.sha256(self._lines.encode()).hexdigest()

    @property
    def _lines(self) -> str:
        return "".join(f"{word}\n" for word in self.words)

    @property
    def _header(self) -> str:
        # The digest notices a missing end and an exchanged word, which would shift ids silently.
        return f"# {len(self.words)} words, the first has id {FIRST_WORD}; sha256 {self.digest}"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: FIRST_WORD + k for k, word in enumerate(self.words)}

    def first(self, size: int) -> "Vocabulary":
        """The vocabulary of the most frequent words that has at most `size` ids.

        Raises:
            ValueError: `size` leaves room for no word.
        """
        if size <= FIRST_WORD:
            raise ValueError(f"vocabulary is {size}; give at least {FIRST_WORD + 1}")
        return Vocabulary(self.words[: size - FIRST_WORD])

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int32 [1 + number of words], beginning with `START`."""
        ids = self._ids
        return np.array([START, *(ids.get(word, UNKNOWN) for word in words(text))], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The words of the ids, with `<start>` and `<unknown>` shown and padding left out.

        Raises:
            ValueError: an id is negative or not below `size`.
        """
        shown = []
        for id_ in map(int, ids):
            if not 0 <= id_ < self.size:
                raise ValueError(f"id is {id_}; the vocabulary has the ids 0 to {self.size - 1}")
            if id_ != PADDING:
                shown.append(SPECIAL.get(id_) or self.words[id_ - FIRST_WORD])
        return " ".join(shown)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `vocabulary.txt`: a first line with count and digest, then one word per line.

        Raises:
            UserError: the file cannot be written.
        """
        write_text(Path(path), f"{self._header}\n{self._lines}")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing, cannot be read, or is not what was written.
        """
        try:
            header, _, text = Path(path).read_bytes().decode("utf-8", "replace").partition("\n")
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); it belongs to a run directory"
            ) from None
        vocabulary = cls(tuple(text.split("\n")[:-1]))
        if header != vocabulary._header or text != vocabulary._lines:
            raise UserError(f"{path} is damaged; take it from a copy of the run, or train again")
        return vocabulary


class Corpus(NamedTuple):
    """Many texts as ids; text `i` is `tokens[offsets[i] : offsets[i + 1]]`, `START` first.

    Attributes:
        tokens: int32, all texts one after the other.
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
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new word gets the next number
    flat, offsets = _flatten([numbers[word] for word in words(text)] for text in train[0])
    known = list(numbers)
    flat_test, offsets_test = _flatten([numbers[word] for word in words(text)] for text in test[0])

    counts = np.bincount(flat, minlength=len(known))
    order = sorted(range(len(known)), key=lambda k: (-counts[k], known[k]))
    ids = np.full(len(numbers), UNKNOWN, np.int32)
    ids[order] = np.arange(FIRST_WORD, FIRST_WORD + len(order), dtype=np.int32)
    return (
        _with_starts(ids[flat], offsets, train[1]),
        _with_starts(ids[flat_test], offsets_test, test[1]),
        Vocabulary(tuple(known[k] for k in order)),
    )


def _flatten(texts: Iterable[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """All numbers one after the other (int32), and where each text begins and ends."""
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
