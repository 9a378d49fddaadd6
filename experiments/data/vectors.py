"""Reads features of words out of a file of vectors, as GloVe's and fastText's are.

A line is a word and its numbers with a space between them; fastText's first line, how many words
and numbers there are, is left out.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data.source import Say
from experiments.data.text import FIRST_WORD, START, Corpus, Vocabulary


class Vectors(NamedTuple):
    """What a file says of a vocabulary.

    Attributes:
        ids: int32 [k], the words that it has.
        values: float32 [k, F], their features.
        digest: SHA-256 of the file.
    """

    ids: np.ndarray
    values: np.ndarray
    digest: str


def width(path: str) -> int:
    """The numbers of a word, from the first line that has one.

    Raises:
        UserError: the file cannot be read, or begins with no word and its numbers.
    """
    for _, line in _lines(path):
        _, *numbers = line.split()
        if numbers and all(map(_is_number, numbers)):
            return len(numbers)
        break
    raise UserError(
        f"--embeddings {path} begins with no word and its numbers; give vectors as text, a word a "
        "line"
    )


def load_vectors(path: str, vocabulary: Vocabulary, train: Corpus, say: Say) -> Vectors:
    """Read the features of the words of a vocabulary; of a word that comes twice, the first.

    Args:
        path: of the file.
        vocabulary: the words to look for.
        train: the texts that they are of, to say how many of these words have features.
        say: gets a line on that.

    Raises:
        UserError: the file cannot be read, has a line of another number of numbers, or none of the
            words.
    """
    features, hashed = width(path), hashlib.sha256()
    ids = {word.encode(): FIRST_WORD + k for k, word in enumerate(vocabulary.words)}
    found: dict[int, np.ndarray] = {}
    for number, line in _lines(path, hashed):
        # Of millions of words the numbers of a few thousand are read.
        if line.split(b" ", 1)[0] not in ids:
            continue
        word, *numbers = line.rstrip().rsplit(b" ", features)
        where = f"--embeddings {path}, row {number}"
        beyond = word.split()[1:]
        if beyond and not _is_number(beyond[-1]):
            continue  # a name of several words that begins with one of ours
        if beyond or len(numbers) != features:
            count = len(numbers) + len(beyond)
            raise UserError(f"{where}: there are {count} numbers, and {features} in the first row")
        try:
            values = np.array(numbers, np.float32)
        except ValueError:
            values = np.array([np.nan])
        if not np.isfinite(values).all():
            raise UserError(f"{where}: these are not {features} finite numbers")
        found.setdefault(ids[word], values)
    if not found:
        raise UserError(
            f"--embeddings {path} has none of the vocabulary's {len(ids):,} words; give vectors of "
            "the language of the texts, in small letters"
        )
    known = np.array(sorted(found), np.int32)
    share = np.isin(train.tokens, known).sum() / max(1, (train.tokens != START).sum())
    say(
        f"{path}: features of {len(known):,} of the vocabulary's {len(ids):,} words "
        f"({len(known) / len(ids):.1%}), {share:.1%} of the words in the training texts"
    )
    return Vectors(known, np.stack([found[id_] for id_ in known.tolist()]), hashed.hexdigest())


def _lines(path: str, hashed: "hashlib._Hash | None" = None) -> Iterator[tuple[int, bytes]]:
    """The lines with a word, numbered from 1."""
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if hashed is not None:
                    hashed.update(line)
                is_head = number == 1 and len(line.split()) == 2 and line.split()[1].isdigit()
                if line.strip() and not is_head:
                    yield number, line
    except OSError as error:
        raise UserError(f"--embeddings {path} cannot be read: {error.strerror}") from None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
