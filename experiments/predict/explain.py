"""Says on a terminal how an answer came about: `python -m experiments.predict ... --explain`.

The answer after k steps is the model's answer to the first k steps alone, and a step's part in it
is the change of the log-odds, log(p / (1 - p)), from the answer before it. Knows no model; what is
shown comes from `predict.text.explain` and `predict.image.explain`.
"""

from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.style import Style
from rich.text import Text

# Changes of the log-odds that get one, two and three signs: odds 1.1, 1.35 and 2.7 times as high or
# low. In a review most words move the answer by less than the first.
LEVELS = (0.1, 0.3, 1.0)

# Blue and vermilion after Okabe and Ito, paler for less: told apart by every kind of eye, black
# letters are read on each, and in grey the signs tell them apart.
UP = ("#DCECF7", "#A5D2EF", "#56B4E9")
DOWN = ("#FBE6D8", "#F6C19C", "#EE8F55")

MINUS = "\N{MINUS SIGN}"
_BARS = "▁▂▃▄▅▆▇█"


class Words(NamedTuple):
    """The answers along a text.

    Attributes:
        words: str [n], as the model reads them.
        known: bool [n], whether the vocabulary has them.
        log_odds: float32 [n + 1], of the class `shown`: before the first word, and after each.
        cut: how many of the words the final answer does not see, as the run cuts long texts.
        shown: the class that probabilities are of.
        other: the other class; None where there are several.
    """

    words: tuple[str, ...]
    known: np.ndarray
    log_odds: np.ndarray
    cut: int
    shown: str = "positive"
    other: str | None = "negative"

    @property
    def changes(self) -> np.ndarray:
        """What each word did to the log-odds, float64 [n]."""
        return np.diff(self.log_odds.astype(np.float64))

    @property
    def probabilities(self) -> np.ndarray:
        """Of the class `shown`, float64 [n + 1]."""
        # Not 1 / (1 + exp(-x)), which overflows where an answer is very sure.
        return np.exp(-np.logaddexp(0, -self.log_odds.astype(np.float64)))

    def answer(self, at: int = -1) -> str:
        """The answer at one place, "positive 97.3%"; of several classes how sure `shown` is."""
        p = float(self.probabilities[at])
        if p > 0.5 or self.other is None:
            return f"{self.shown} {p:.1%}"
        return f"{self.other} {1 - p:.1%}"

    @property
    def directions(self) -> tuple[str, str]:
        """Where a word that raises the log-odds leads to, and where one that lowers it does."""
        away = f"away from {self.shown}" if self.other is None else f"towards {self.other}"
        return f"towards {self.shown}", away


class Rows(NamedTuple):
    """The answers along an image, after each 28th of the steps.

    Attributes:
        image: uint8 [28, 28], as the model reads it.
        probabilities: float32 [28, 10].
        unit: what is read in a 28th of the steps.
        in_order: whether that is a row of the image, or pixels from everywhere.
    """

    image: np.ndarray
    probabilities: np.ndarray
    unit: str
    in_order: bool

    def answer(self) -> str:
        """The last answer, "7 (99.2%)"."""
        last = self.probabilities[-1]
        return f"{last.argmax()} ({last.max():.1%})"


def level(change: float) -> int:
    """From -3 to 3: how many signs a change gets, and of which kind."""
    size = int(np.searchsorted(LEVELS, abs(change), side="right"))
    return size if change > 0 else -size


def marks(rank: int) -> str:
    """The signs of a level: "", "+", "++" and so on."""
    return "+" * rank if rank > 0 else MINUS * -rank


def colour(rank: int) -> str | None:
    """The background of a level."""
    return None if rank == 0 else UP[rank - 1] if rank > 0 else DOWN[-rank - 1]


def say_words(answers: Words, console: Console | None = None) -> None:
    """Print the text, coloured and with signs, the course of the answer, legend and answer."""
    console = console or Console(highlight=False)
    text = Text()
    for word, known, change in zip(answers.words, answers.known, answers.changes, strict=True):
        rank = level(change)
        text.append(f"{word if known else f'({word})'}{marks(rank)}", _style(rank)).append(" ")
    console.print(text)
    console.print()
    for direction, sign in zip(answers.directions, (1, -1), strict=True):
        legend = Text(f"{direction}:  ")
        for rank, least in enumerate(LEVELS, 1):
            legend.append(f"{marks(sign * rank)} {least:g}", _style(sign * rank)).append("  ")
        console.print(legend + Text("or more, in log-odds"))
    if not answers.known.all():
        console.print("(word):  not in the vocabulary")
    course = _course(
        answers.probabilities, max(1, min(60, console.width - 14 - len(answers.shown)))
    )
    console.print(Text(f"0 to 100% {answers.shown}:  {course}"))
    if answers.cut:
        cut = f"{answers.cut:,} words: the run cuts texts"
        console.print(Text(f"the last answer does not see {cut}"))
    console.print(Text(answers.answer(), style="bold"))


def say_rows(answers: Rows, console: Console | None = None) -> None:
    """Print the answer after each row, beside the row itself where rows are read."""
    console = console or Console(highlight=False)
    for n, p in enumerate(answers.probabilities):
        first, second = np.argsort(-p, kind="stable")[:2]
        row = f"{n + 1:>2}  {_ink(answers.image[n])}  "
        line = Text(row if answers.in_order else f"{28 * (n + 1):>3}  ")
        line.append(f"{first} {p[first]:6.1%}", style="bold")
        line.append(f"   {second} {p[second]:6.1%}")
        console.print(line, soft_wrap=True)
    console.print(Text(f"after each {answers.unit}: the likeliest digit and the next one"))
    console.print(Text(answers.answer(), style="bold"))


def _style(rank: int) -> Style:
    ground = colour(rank)
    return Style() if ground is None else Style(color="black", bgcolor=ground)


def _ink(row: np.ndarray) -> str:
    """A line of pixels in characters."""
    return "".join("·░▒▓█"[value // 52] for value in row.tolist())


def _course(probabilities: np.ndarray, width: int) -> str:
    """Probabilities as bars, at most `width`: the last one of each stretch of the text."""
    at = np.linspace(0, len(probabilities) - 1, min(width, len(probabilities)))
    return "".join(_BARS[min(7, int(8 * p))] for p in probabilities[np.rint(at).astype(int)])
