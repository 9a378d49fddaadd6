"""Tokenised texts kept on disk (see `array_cache`).

What makes the tokens: the prepared files (name, size, time) and the rules for words.
"""

import unicodedata
from pathlib import Path

import numpy as np

from experiments.data.text import TOKENIZER, Corpus, Vocabulary
from experiments.storage import array_cache

# To be raised when the arrays below change.
_LAYOUT = 1

Tokens = tuple[Corpus, Corpus, Vocabulary]


def cache_path(name: str, fingerprint: str) -> Path:
    """Where the tokens of the data with this fingerprint are kept."""
    return array_cache.cache_path(
        name, fingerprint, TOKENIZER, _LAYOUT, unicodedata.unidata_version
    )


def load(path: Path) -> Tokens | None:
    """What `save` wrote, or None where nothing usable is there."""
    arrays = array_cache.load(path)
    if arrays is None:
        return None
    try:
        train, test = (
            Corpus(*(arrays[f"{split}_{field}"] for field in Corpus._fields))
            for split in ("train", "test")
        )
        words = arrays["words"].tobytes().decode("utf-8").split("\n")[:-1]
    except (KeyError, UnicodeDecodeError):
        return None
    sound = all(
        corpus.offsets[-1] == len(corpus.tokens) and len(corpus.offsets) == len(corpus.labels) + 1
        for corpus in (train, test)
    )
    return (train, test, Vocabulary(tuple(words))) if sound else None


def save(path: Path, tokens: Tokens) -> None:
    """Write the tokens; `UserError` where that cannot be done, and then nothing is left."""
    train, test, vocabulary = tokens
    arrays = {
        f"{split}_{field}": getattr(corpus, field)
        for split, corpus in (("train", train), ("test", test))
        for field in Corpus._fields
    }
    arrays["words"] = np.frombuffer(
        "".join(f"{word}\n" for word in vocabulary.words).encode(), np.uint8
    )
    array_cache.save(path, arrays)
