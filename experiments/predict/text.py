"""Ask a run of `experiments.imdb` for the class of a text."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data.text import PADDING, UNKNOWN, Vocabulary, words
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.runs.restore import settings_of

if TYPE_CHECKING:
    from experiments.predict.explain import Words

# Texts in one batch: the outputs of 64 times 500 words of a wide network still fit into memory.
_AT_ONCE = 64
# Of a file or standard input, which may never end.
MOST_BYTES = 100_000_000


# Of many classes only the likeliest are printed.
_SHOWN = 10


class Answer(NamedTuple):
    """What a model says of one text: the probability of each class, by name."""

    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        """The most probable class; of equal ones the first."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Of that class."""
        return self.probabilities[self.label]

    def __str__(self) -> str:
        said = f"{self.label}  {self.probability:.1%}"
        if len(self.probabilities) == 2:
            return said
        best = sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:_SHOWN]
        width = max(len(name) for name, _ in best)
        bars = [f"  {name:{width}}  {p:6.1%}  {'█' * round(40 * p)}".rstrip() for name, p in best]
        return "\n".join([said, *bars])


def answer(directory: RunDir, text: str | None, file: str | None) -> Answer:
    """The answer of a run's best epoch to a text, a file, or standard input where both are None.

    Raises:
        UserError: there is no text, or it cannot be read; the run has no checkpoint, a damaged
            one, or settings that do not fit it.
    """
    vocabulary, text = _asked(directory, text, file)
    classes, logits = _logits(directory, [vocabulary.encode(text)])
    return Answer(dict(zip(classes, probabilities(logits)[0].tolist(), strict=True)))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Of each class, float64 [n, C]; from logits [n, C], or [n, 1] where there are two classes."""
    logits = logits.astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def explain(directory: RunDir, text: str | None, file: str | None) -> "Words":
    """The answers after each word of what `answer` reads.

    Each is the answer to the text up to there, as a text of its own: so it is right where layers
    run backwards too, and where a long text is cut. 500 words of a GRU(32) took 3.8 s of processor
    time on two cores, 0.5 s once compiled.

    Raises:
        UserError: as `answer`.
    """
    from experiments.predict.explain import Words

    vocabulary, text = _asked(directory, text, file)
    ids = vocabulary.encode(text)
    classes, logits = _logits(directory, [ids[:k] for k in range(1, len(ids) + 1)])
    unseen = max(0, len(ids) - settings_of(directory).text.max_length)
    # Of two classes always the second, "positive"; of more the one that is the answer.
    other: str | None = classes[0]
    shown, log_odds = classes[-1], logits[:, 0]
    if len(classes) > 2:
        chosen = int(logits[-1].argmax())
        rest = np.logaddexp.reduce(np.delete(logits, chosen, axis=1), axis=1)
        other, shown, log_odds = None, classes[chosen], logits[:, chosen] - rest
    return Words(tuple(words(text)), ids[1:] != UNKNOWN, log_odds, unseen, shown, other)


def _asked(directory: RunDir, text: str | None, file: str | None) -> tuple[Vocabulary, str]:
    vocabulary = Vocabulary.load(directory.path / VOCABULARY)
    text = _read(file) if text is None else text
    ids = vocabulary.encode(text)[1:]
    if not len(ids):
        raise UserError("the text has no words; give at least one")
    if (ids == UNKNOWN).all():
        _note("none of its words is in the run's vocabulary; the answer says nothing of them")
    return vocabulary, text


def _logits(directory: RunDir, texts: Sequence[np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and the logits of the run's best epoch for ids of texts: float32 [n, C].

    C is the number of classes, or 1 where there are two.

    Raises:
        UserError: as `answer`.
    """
    import jax
    from flax import nnx

    from experiments.runs.load import load

    trained = load(directory, _note)
    settings = trained.settings.text

    @jax.jit
    def logits(params: nnx.State, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        return nnx.merge(trained.graphdef, params)(tokens, lengths)

    longest, parts = min(settings.max_length, max(map(len, texts))), []
    batch = min(_AT_ONCE, len(texts))
    for first in range(0, len(texts), batch):
        # Of one shape, which is compiled once; the last batch has rows of length 0 too.
        tokens = np.full((batch, longest), PADDING, np.int32)
        lengths = np.zeros(batch, np.int32)
        for row, ids in enumerate(texts[first : first + batch]):
            kept = ids[-longest:] if settings.truncate == "head" else ids[:longest]
            tokens[row, : len(kept)], lengths[row] = kept, len(kept)
        parts.append(np.asarray(logits(trained.params, tokens, lengths)))
    return trained.classes, np.concatenate(parts)[: len(texts)]


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
