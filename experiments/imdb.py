"""Sentiment of IMDB reviews: is a film review positive?

    python -m experiments.imdb --cell gru

Trains on 20,000 of the 25,000 training reviews, validates on the other 5,000, and tests the best
epoch on the 25,000 test reviews.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.cli import Range, parse, path, run
from experiments.settings import Model, Run, Training, flat, flatten

if TYPE_CHECKING:
    import numpy as np

    from experiments.corpus import Corpus
    from experiments.data import TextData
    from experiments.task import Task


@dataclasses.dataclass(frozen=True)
class Text:
    """The reviews."""

    data: Literal["auto", "tfds", "sample"] = "auto"
    """tfds: IMDB, or an error. auto: IMDB, or the built-in sample where IMDB is out of reach."""
    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    vocabulary: Annotated[int, Range(4, 10**6)] = 10000
    """Ids: padding, start, unknown and the most frequent words."""
    max_length: Annotated[int, Range(1, 10**5)] = 500
    """Steps; longer reviews are cut."""
    truncate: Literal["head", "tail"] = "head"
    """Which end of a longer review is cut off; the verdict often stands at its end."""
    validation_fraction: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2
    """Share of the training reviews that is kept for validation."""
    embedding: Annotated[int, Range(1, 16384)] = 32
    """Features of a word."""


@flat
@dataclasses.dataclass(frozen=True)
class Settings:
    """Train a recurrent network on the sentiment of IMDB film reviews.

    example: python -m experiments.imdb --cell gru --units 64 --run-dir runs/gru64
    """

    text: Text = Text()
    model: Model = Model(dropout=0.5, word_dropout=0.1)
    training: Training = Training(optimizer="adam", learning_rate=0.003, average=0.995)
    run: Run = Run()


TITLE = "IMDB sentiment"


VOCABULARY = "vocabulary.txt"


def main(args: list[str] | None = None) -> int:
    """Parse, load, train; the exit status."""
    settings = parse(Settings, args, prog="python -m experiments.imdb")
    # Imported behind the parser, so that `--help` and mistakes answer at once.
    from experiments.data import load_text
    from experiments.rundir import RunDir
    from experiments.screen import Screen

    seed, cell = settings.training.seed, settings.model.cell
    directory = RunDir(settings.run.run_dir or Path("runs") / f"imdb-{cell}-seed{seed}")
    directory.check(resume=settings.run.resume)
    screen, of = Screen(), settings.text
    text = load_text(of.data, of.data_dir, of.vocabulary, screen.say)

    from experiments.runner import Runner

    return Runner(task(settings, text), settings, directory, screen).main()


def task(settings: Settings, text: "TextData") -> "Task":
    """The reviews cut into batches, and the network that reads them."""
    from experiments import models
    from experiments.batches import Batches, best_boundaries, split_validation
    from experiments.task import Task

    of, training = settings.text, settings.training
    rows, held = split_validation(len(text.train.labels), of.validation_fraction, training.seed)

    # The same padded lengths in all parts, because each is compiled.
    boundaries = best_boundaries(text.train.lengths, of.max_length)

    def batches(corpus: "Corpus", rows: "np.ndarray | None" = None) -> Batches:
        return Batches(corpus, rows, training.batch_size, of.max_length, of.truncate, boundaries)

    return Task(
        name="imdb",
        title="IMDB sentiment",
        dataset=text.dataset,
        model=models.build(
            flatten(settings), features=of.embedding, vocabulary=text.vocabulary.size, classes=1
        ),
        train=batches(text.train, rows),
        validation=batches(text.train, held),
        test=batches(text.test),
        inputs=(of.max_length,),
        save=lambda run_dir: text.vocabulary.save(run_dir / VOCABULARY),
    )


if __name__ == "__main__":
    run(main)
