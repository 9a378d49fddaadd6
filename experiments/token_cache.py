"""Tokenised texts kept on disk: `$XDG_CACHE_HOME/jaxrnn/imdb-KEY.npz`, else under `~/.cache`.

The key is a digest of everything that makes the tokens: the prepared files (name, size, time) and
the rules for words. A file under a key is therefore never out of date. It is written aside and
renamed, and every array in it carries a checksum (that of the zip format), so it is never half
there and never trusted when damaged; both only cost the time to make it again.
"""

import hashlib
import os
import tempfile
import unicodedata
from pathlib import Path

import numpy as np

from experiments.corpus import Corpus
from experiments.text import TOKENIZER, Vocabulary

# To be raised when the arrays below change.
_LAYOUT = 1

Tokens = tuple[Corpus, Corpus, Vocabulary]


def cache_path(name: str, fingerprint: str) -> Path:
    """Where the tokens of the data with this fingerprint are kept."""
    made_by = f"{name}\0{fingerprint}\0{TOKENIZER}\0{_LAYOUT}\0{unicodedata.unidata_version}"
    key = hashlib.sha256(made_by.encode()).hexdigest()[:24]
    # An empty or relative $XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification).
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path("~/.cache").expanduser()
    return base / "jaxrnn" / f"{name}-{key}.npz"


def load(path: Path) -> Tokens | None:
    """What `save` wrote, or None where nothing usable is there."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            train, test = (
                Corpus(*(file[f"{split}_{field}"] for field in Corpus._fields))
                for split in ("train", "test")
            )
            words = file["words"].tobytes().decode("utf-8").split("\n")[:-1]
    # Damage shows as a dozen kinds of exception; the answer to all of them is to make it again.
    except Exception:
        return None
    sound = all(
        corpus.offsets[-1] == len(corpus.tokens) and len(corpus.offsets) == len(corpus.labels) + 1
        for corpus in (train, test)
    )
    return (train, test, Vocabulary(tuple(words))) if sound else None


def save(path: Path, tokens: Tokens) -> None:
    """Write the tokens; `OSError` where that cannot be done, and then nothing is left behind."""
    train, test, vocabulary = tokens
    arrays = {
        f"{split}_{field}": getattr(corpus, field)
        for split, corpus in (("train", train), ("test", test))
        for field in Corpus._fields
    }
    arrays["words"] = np.frombuffer(
        "".join(f"{word}\n" for word in vocabulary.words).encode(), np.uint8
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
        try:
            np.savez(file, **arrays)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
