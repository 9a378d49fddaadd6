"""Words and ids: what counts as a word, and the vocabulary that numbers them.

Ids are those of Keras's IMDB: 0 padding, 1 start, 2 unknown, words from 3 on, the most frequent
first. A text is

    START, id(w_1), ..., id(w_n)        with id(w) = UNKNOWN where w has no number.
"""

import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from experiments.config.cli import UserError

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 3
SPECIAL = {START: "<start>", UNKNOWN: "<unknown>"}

# To be raised with every change of `words`: kept tokens carry it in their key.
TOKENIZER = 1

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Typographic ones, the accents that stand in for one, and Windows-1252 that was read as Latin-1.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\u0060\x91\x92", "'"))
# `[^\W_]` is a letter or digit of any script; an apostrophe counts between two of them only.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text: str) -> list[str]:
    """Split a text into lower-case words.

    - `<br />` is removed, as a space: "good.<br /><br />Bad" is two words.
    - A word is a run of letters and digits. An apostrophe between two of them belongs to the word
      (don't, movie's, rock'n'roll), for "don't" is no "don"; at the ends it is a quotation mark
      or a plural and goes ('great' -> great, actors' -> actors). Typographic apostrophes count
      as `'`.
    - Everything else separates and is dropped: well-made -> well made, 7/10 -> 7 10, U.S. -> u s.
    - Accented letters are letters, composed (NFC): a file from macOS gives the same words.

    `words(" ".join(words(text))) == words(text)`, hence `decode` can be encoded again.
    """
    # Composed twice: lowering can leave a letter and its accent apart, which would split the word.
    text = unicodedata.normalize("NFC", _BREAK.sub(" ", text)).lower().translate(_APOSTROPHES)
    return _WORD.findall(unicodedata.normalize("NFC", text))


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
        return hashlib.sha256(_lines(self.words).encode()).hexdigest()

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
        path, text = Path(path), _lines(self.words)
        try:
            # Written aside and renamed: whoever opens `path` sees all of it or none.
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, prefix=path.name, encoding="utf-8", newline="", delete=False
            ) as file:
                file.write(f"{_header(self.words)}\n{text}")
            os.chmod(file.name, 0o644)  # a temporary file is private; this one is to be read
            os.replace(file.name, path)
        except OSError as mistake:
            raise UserError(f"{path} cannot be written: {mistake.strerror}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
          UserError: the file is missing, cannot be read, or is not what was written.
        """
        try:
            header, _, text = Path(path).read_bytes().decode("utf-8").partition("\n")
        except OSError as mistake:
            raise UserError(
                f"{path} cannot be read ({mistake.strerror}); it belongs to a run directory"
            ) from None
        except UnicodeDecodeError:
            header, text = "", ""
        found = tuple(text.split("\n")[:-1])
        if header != _header(found) or text != _lines(found):
            raise UserError(f"{path} is damaged; take it from a copy of the run, or train again")
        return cls(found)


def _lines(rows: tuple[str, ...]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _header(rows: tuple[str, ...]) -> str:
    # The digest notices a missing tail and an exchanged word, which would shift the ids silently.
    digest = hashlib.sha256(_lines(rows).encode()).hexdigest()
    return f"# {len(rows)} words, the first has id {FIRST_WORD}; sha256 {digest}"
