"""The sentiment of a text, from a run of `experiments.imdb`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.imdb import VOCABULARY
from experiments.runs.directory import RunDir

if TYPE_CHECKING:
    from experiments.data.text import Vocabulary
    from experiments.predict.explain import Words


# Texts in one batch: the outputs of 64 times 500 words of a wide network still fit into memory.
_AT_ONCE = 64
# Of a file or standard input, which may never end.
MOST_BYTES = 100_000_000


class Answer(NamedTuple):
    """What a model says of one text."""

    label: str
    probability: float

    def __str__(self) -> str:
        return f"{self.label}  {self.probability:.1%}"


def answer(directory: RunDir, config: dict[str, Any], text: str | None, file: str | None) -> Answer:
    """The answer to a text, to that in a file, or to standard input where both are None.

    Raises:
        UserError: as `classify`; also where there is no text, or it cannot be read.
    """
    vocabulary, text = _asked(directory, text, file)
    return classify(directory, config, vocabulary, text)


def classify(
    directory: RunDir, config: dict[str, Any], vocabulary: "Vocabulary", text: str
) -> Answer:
    """The answer of the run's best epoch.

    Raises:
        UserError: the run has no checkpoint, a damaged one, or settings that do not fit it.
    """
    (logit,) = _log_odds(directory, config, vocabulary, [vocabulary.encode(text)])
    positive = float(1 / (1 + np.exp(-logit.astype(np.float64))))
    if positive > 0.5:
        return Answer("positive", positive)
    return Answer("negative", 1 - positive)


def explain(
    directory: RunDir, config: dict[str, Any], text: str | None, file: str | None
) -> "Words":
    """The answers after each word of what `answer` reads.

    Each is the answer to the text up to there, as a text of its own: so it is right where layers
    run backwards too, and where a long text is cut. 500 words of a GRU(32) took 3.8 s of processor
    time on two cores, 0.5 s once compiled.

    Raises:
        UserError: as `answer`.
    """
    from experiments.data.text import UNKNOWN, words
    from experiments.predict.explain import Words

    vocabulary, text = _asked(directory, text, file)
    ids = vocabulary.encode(text)
    found = _log_odds(directory, config, vocabulary, [ids[:k] for k in range(1, len(ids) + 1)])
    unseen = max(0, len(ids) - int(config["settings"]["max_length"]))
    return Words(tuple(words(text)), ids[1:] != UNKNOWN, found, unseen)


def _asked(directory: RunDir, text: str | None, file: str | None) -> tuple["Vocabulary", str]:
    from experiments.data.text import UNKNOWN, Vocabulary

    vocabulary = Vocabulary.load(directory.path / VOCABULARY)
    text = _read(file) if text is None else text
    ids = vocabulary.encode(text)[1:]
    if not len(ids):
        raise UserError("the text has no words; give at least one")
    if (ids == UNKNOWN).all():
        _note("none of its words is in the run's vocabulary; the answer says nothing of them")
    return vocabulary, text


def _log_odds(
    directory: RunDir,
    config: dict[str, Any],
    vocabulary: "Vocabulary",
    texts: Sequence[np.ndarray],
) -> np.ndarray:
    """Of "positive" by the run's best epoch, for ids of texts: float32 [n].

    Raises:
        UserError: as `classify`.
    """
    import jax
    from flax import nnx

    from experiments.config.imdb import Settings
    from experiments.data.text import PADDING
    from experiments.models import classifier
    from experiments.runs.checkpoint import Checkpoints
    from experiments.runs.load import best_params
    from experiments.runs.restore import settings_of

    try:
        settings = settings_of(directory, config, Settings)
        graphdef, params = classifier.shapes(
            settings, features=settings["embedding"], vocabulary=vocabulary.size, classes=1
        )
        most, truncate = settings["max_length"], settings["truncate"]
    except KeyError as missing:
        raise UserError(f"{directory.path}/config.json lacks {missing}") from None
    data = {"vocabulary": vocabulary.digest}
    _, best = best_params(Checkpoints(directory.checkpoints), params, settings, _note, data)

    @jax.jit
    def log_odds(params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, params)(tokens, lengths)[:, 0]

    longest, parts = min(most, max(map(len, texts))), []
    batch = min(_AT_ONCE, len(texts))
    for first in range(0, len(texts), batch):
        # Of one shape, which is compiled once; the last batch has rows of length 0 too.
        tokens = np.full((batch, longest), PADDING, np.int32)
        lengths = np.zeros(batch, np.int32)
        for row, ids in enumerate(texts[first : first + batch]):
            seen = ids[-most:] if truncate == "head" else ids[:most]
            tokens[row, : len(seen)], lengths[row] = seen, len(seen)
        parts.append(np.asarray(log_odds(best, tokens, lengths)))
    return np.concatenate(parts)[: len(texts)]


def _read(file: str | None) -> str:
    try:
        if file is not None:
            with Path(file).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        else:
            if sys.stdin.isatty():
                _note("reading the text from the keyboard; end it with Ctrl-D")
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(
                f"{file or 'standard input'} has more than {MOST_BYTES:,} bytes; give a part of it"
            )
        return content.decode("utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UserError(f"{file or 'standard input'} is not UTF-8 text") from None
        reason = getattr(error, "strerror", None) or error  # a name with a null character
        raise UserError(f"--file {file} cannot be read: {reason}") from None


def _note(line: str) -> None:
    print(line, file=sys.stderr)
