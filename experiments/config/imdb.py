"""Declares the settings of the IMDB task, and recipes: settings by name, `--recipe NAME`.

Each recipe is a function that returns settings. Its docstring says the command, how long it
takes on two CPU cores, and the accuracy to expect.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from experiments.config.cli import Kind, Range, UserError, flag, path
from experiments.config.settings import COMMON, Hardware, Model, Run, Training, flat

NAMES = ("auto", "tfds", "sample")  # of data that come with the command
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")

Texts = Kind(
    lambda value: (
        value in NAMES
        or value.lower().endswith(SUFFIXES)
        or os.path.isdir(os.path.expanduser(value))
    ),
    f"{', '.join(NAMES)}, a file ({', '.join(SUFFIXES)}) or a directory",
)


@dataclasses.dataclass(frozen=True)
class Text:
    """The texts."""

    data: Annotated[str, path("auto", metavar="{auto,tfds,sample}|FILE"), Texts] = "auto"
    """tfds: IMDB, or an error. auto: IMDB, or the built-in sample where IMDB is out of reach. FILE:
    texts of your own, CSV, TSV or JSON lines with the columns text and label, and perhaps split
    (train or test); or a directory with a subdirectory of .txt files for each label, and perhaps
    train and test above these."""
    test_data: Annotated[str | None, path("part of FILE", metavar="FILE"), Texts] = None
    """Texts of your own to test on, in any of these forms."""
    test_fraction: Annotated[
        float | None, Range(0, 1, open_low=True, open_high=True), path("0.2", metavar="FLOAT")
    ] = None
    """Share of your own texts that is kept for the test, the same of each label, where none is
    marked as one to test on."""
    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    vocabulary: Annotated[int, Range(4, 10**6)] = 10000
    """Number of ids: padding, start, unknown, and the most frequent words."""
    max_length: Annotated[int, Range(1, 10**5)] = 500
    """Most steps, one for each word; longer reviews are cut."""
    truncate: Literal["head", "tail"] = "head"
    """Which end of a longer review is cut off; the verdict often stands at its end."""
    validation_fraction: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2
    """Share of the training reviews that is kept for validation."""
    embedding: Annotated[int, Range(1, 16384)] = 32
    """Features of a word."""
    embeddings: Annotated[str | None, path("none", metavar="FILE")] = None
    """Begin with these features of words: a word and its numbers in each line, as GloVe's files
    have it. How many there are decides --embedding."""
    bigrams: Annotated[int, Range(0, 10**8)] = 0
    """Rows of a table of word pairs, whose features are added to the words'; 0 for none. Of
    several members every other one has such a table."""


@flat
@dataclasses.dataclass(frozen=True)
class Settings:
    """Train a recurrent network on the sentiment of IMDB film reviews.

    example: python -m experiments.imdb --cell gru --units 64 --run-dir runs/gru64
    """

    COMMON: ClassVar = (
        *("recipe", "data", "data_dir", "test_data", "vocabulary", "max_length", "embedding"),
        "embeddings",
        *COMMON,
    )

    recipe: Annotated[
        Literal["lstm", "simple", "stacked", "pooled", "best"] | None,
        path("none", metavar="{lstm,simple,stacked,pooled,best}"),
    ] = None
    """Begin with the settings of a tutorial; any other flag overrides them."""
    config: Annotated[str | None, path("none", metavar="FILE")] = None
    """Begin with the settings of a run, its config.json; any other flag overrides them."""
    text: Text = Text()
    model: Model = Model(dropout=0.5, word_dropout=0.1)
    training: Training = Training(optimizer="adam", learning_rate=0.003, average=0.995)
    run: Run = Run()
    hardware: Hardware = Hardware()


TITLE = "IMDB sentiment"


def lstm() -> Settings:
    """LSTM(32) on 500 steps, the tutorial's model; the defaults.

    python -m experiments.imdb --recipe lstm

    2 minutes; best validation accuracy 0.887, test 0.872.
    """
    return Settings(recipe="lstm")


def simple() -> Settings:
    """SimpleRNN(32) on 500 steps, the tutorial's model.

    python -m experiments.imdb --recipe simple

    1 minute; best validation accuracy 0.885, test 0.871.
    """
    return Settings(recipe="simple", model=Model(cell="rnn", dropout=0.5, word_dropout=0.1))


def stacked() -> Settings:
    """Two SimpleRNN layers of 64 on 80 steps, as the tutorial trains them: 1,018,881 parameters.

    python -m experiments.imdb --recipe stacked

    2 minutes; best validation accuracy 0.79, for Adam is not done after 20 epochs at this rate.
    In both directions, with smaller batches and more dropout it is 0.847, also in 2 minutes:

    python -m experiments.imdb --recipe stacked --bidirectional --readout mean-max --batch-size 128
        --learning-rate 0.001 --schedule cosine --average 0.995 --dropout 0.5 --word-dropout 0.3
    """
    return Settings(
        recipe="stacked",
        text=Text(max_length=80, embedding=100),
        model=Model(cell="rnn", units=64, layers=2, dropout=0.2),
        training=Training(
            batch_size=1024,
            epochs=20,
            optimizer="adam",
            learning_rate=0.0001,
            schedule="constant",
            patience=20,
        ),
    )


def pooled() -> Settings:
    """No recurrence: the mean of embeddings of 16, a dense layer of 16; 256 steps.

    The baseline that every recurrent model must beat.

    python -m experiments.imdb --recipe pooled

    Half a minute; best validation accuracy 0.883, test 0.882.
    """
    return Settings(
        recipe="pooled",
        text=Text(max_length=256, embedding=16, validation_fraction=0.1),
        model=Model(cell="none", hidden=16, dropout=0.3, word_dropout=0.3),
        training=Training(
            batch_size=512,
            epochs=40,
            optimizer="adam",
            learning_rate=0.01,
            epsilon=1e-4,
            schedule="constant",
            average=0.99,
            patience=10,
        ),
    )


def best() -> Settings:
    """Four bidirectional GRUs side by side, two of which also read pairs of words.

    python -m experiments.imdb --recipe best

    17 minutes; best validation accuracy 0.910, test 0.906. RESULTS.md says what brought what.
    """
    return Settings(
        recipe="best",
        text=Text(
            vocabulary=30000,
            max_length=800,
            validation_fraction=0.05,
            embedding=100,
            bigrams=200000,
        ),
        model=Model(
            cell="gru",
            units=64,
            bidirectional=True,
            readout="mean-max",
            members=4,
            dropout=0.5,
            word_dropout=0.3,
        ),
        training=Training(
            batch_size=64,
            epochs=6,
            optimizer="adam",
            learning_rate=0.006,
            epsilon=3e-4,
            average=0.995,
            patience=5,
        ),
    )


RECIPES: dict[str, Callable[[], Settings]] = {
    recipe.__name__: recipe for recipe in (lstm, simple, stacked, pooled, best)
}


def is_own(data: str) -> bool:
    """Whether this names texts of the user's own, and not data that come with the command."""
    return data not in NAMES


def resolve(settings: Settings) -> Settings:
    """The settings with what follows from them: another cell is another model than the recipe's.

    Raises:
        UserError: they contradict themselves.
    """
    text = settings.text
    if not is_own(text.data):
        for name in ("test_data", "test_fraction"):
            if getattr(text, name) is not None:
                raise UserError(f"{flag(name)} is for texts of your own, --data FILE; leave it out")
    elif text.data_dir is not None:
        raise UserError(f"--data-dir is for --data tfds, and --data is {text.data}; leave it out")
    elif text.test_data is not None and text.test_fraction is not None:
        raise UserError("--test-data and --test-fraction both say what to test on; give one")
    elif text.test_data is not None and not is_own(text.test_data):
        raise UserError(f"--test-data is {text.test_data}; give a file or a directory")
    if text.embeddings is not None and settings.run.init_from is not None:
        raise UserError("--embeddings and --init-from both say what to begin with; give one")
    recipe = settings.recipe
    if recipe is None or RECIPES[recipe]().model.cell == settings.model.cell:
        return settings
    return dataclasses.replace(settings, recipe=None)
