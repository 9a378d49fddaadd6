"""Asks a run of `experiments.imdb` for the class of a text."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.config.imdb import Text
from experiments.data.text import PADDING, UNKNOWN, Vocabulary, words
from experiments.predict.table import Row, column
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.runs.restore import settings_of

if TYPE_CHECKING:
    from experiments.predict.explain import Words

# Texts in one batch: the outputs of 64 times 500 words of a wide network still fit into memory.
_AT_ONCE = 64
# Of a file or standard input, which may never end.
MOST_BYTES = 100_000_000


# Of many classes only the likeliest are printed; bars are so wide at most that a row fits 60
# columns.
_SHOWN, _WIDE = 10, 24
# Of many texts so many doubts are printed.
_DOUBTS = 10


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
        names = column(name for name, _ in best)
        bars = [
            f"  {name}  {p:6.1%}  {'█' * round(_WIDE * p)}".rstrip()
            for name, (_, p) in zip(names, best, strict=True)
        ]
        return "\n".join([said, *bars])


def answer(directory: RunDir, text: str | None, file: str | None) -> Answer:
    """The answer of a run's best epoch to a text, a file, or standard input where both are None.

    Raises:
        UserError: there is no text, or it cannot be read; the run has no checkpoint, a damaged
            one, or settings that do not fit it.
    """
    vocabulary, text = _asked(directory, text, file)
    return _answers(directory, [vocabulary.encode(text)])[0]


def answers(directory: RunDir, texts: Mapping[str, str]) -> list[Row]:
    """The answers to several texts, each with its number of words.

    Args:
        directory: of the run.
        texts: by what messages call them.

    Raises:
        UserError: as `answer`.
    """
    vocabulary = Vocabulary.load(directory.path / VOCABULARY)
    ids = [vocabulary.encode(text) for text in texts.values()]
    if bare := [name for name, row in zip(texts, ids, strict=True) if len(row) < 2]:
        others = f" (nor have {len(bare) - 1:,} others)" if len(bare) > 1 else ""
        raise UserError(
            f"{bare[0]}, {texts[bare[0]]!r:.40}, has no words{others}; give some, or leave it out"
        )
    settings = settings_of(directory).text
    doubts = [_doubts(row[1:], settings) for row in ids]
    _note_each(doubts, texts)
    return [
        Row(text, found.label, found.probabilities, len(row) - 1, int((row == UNKNOWN).sum()))
        for text, found, row in zip(texts.values(), _answers(directory, ids), ids, strict=True)
    ]


def lines(file: str) -> dict[str, str]:
    """The texts of a file that has one in each line, by its number; empty lines are none.

    A line ends where an editor ends it, and not at the other marks that Unicode knows.
    """
    every = re.split(r"\r\n|\n|\r", read(file, "--lines"))
    texts = {f"line {n}": line.strip() for n, line in enumerate(every, 1) if line.strip()}
    if not texts:
        raise UserError(f"--lines {file} has no text; write one in each line")
    return texts


def _answers(directory: RunDir, ids: Sequence[np.ndarray]) -> list[Answer]:
    classes, logits = _logits(directory, ids)
    found = probabilities(logits).tolist()
    return [Answer(dict(zip(classes, row, strict=True))) for row in found]


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
    text = read(file) if text is None else text
    ids = vocabulary.encode(text)[1:]
    if not len(ids):
        raise UserError("the text has no words; give at least one")
    for doubt in _doubts(ids, settings_of(directory).text):
        _note(doubt)
    return vocabulary, text


def _doubts(ids: np.ndarray, settings: Text) -> list[str]:
    """Which words of a text the run does not know, and which it does not read."""
    doubts, unknown = [], int((ids == UNKNOWN).sum())
    if unknown:
        words, are, them = ("word", "is", "it") if len(ids) == 1 else ("words", "are", "them")
        are = "is" if unknown == 1 else are
        so = f"; the answer says nothing about {them}" if unknown == len(ids) else ""
        doubts.append(f"{unknown:,} of {len(ids):,} {words} {are} not in the run's vocabulary{so}")
    end, most = "last", settings.max_length
    if settings.truncate == "tail":
        end, most = "first", most - 1  # the start stands before them
    if len(ids) > most:
        doubts.append(f"of {len(ids):,} words the run reads the {end} {most:,}")
    return doubts


def _note_each(doubts: Sequence[Sequence[str]], names: Iterable[str]) -> None:
    """Say the doubts of several texts, and of very many no more than how many there are."""
    every = [f"{name}: {doubt}" for name, some in zip(names, doubts, strict=True) for doubt in some]
    for line in every[:_DOUBTS]:
        _note(line)
    if len(every) > _DOUBTS:
        _note(f"and {len(every) - _DOUBTS:,} more such lines; csv and json count unknown words")


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
    if not directory.rows():
        _note(f"the run has finished no epoch yet; this is the answer of step {trained.step:,}")
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


def read(file: str | None, flag: str = "--file") -> str:
    """What a file holds, or standard input for `-` and None; `UserError` where it is no text."""
    name = "standard input" if file in (None, "-") else file
    try:
        if file is not None and name == file:
            with Path(file).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        else:
            if sys.stdin.isatty():
                _note("reading the text from the keyboard; end it with Ctrl-D")
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{name} has more than {MOST_BYTES:,} bytes; give a part of it")
        return content.decode("utf-8-sig")  # an editor of Windows may put a mark before it
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UserError(f"{name} is not UTF-8 text; save it in UTF-8") from None
        reason = getattr(error, "strerror", None) or error  # a name with a null character
        raise UserError(f"{flag} {file} cannot be read: {reason}") from None


def _note(line: str) -> None:
    print(line, file=sys.stderr)
