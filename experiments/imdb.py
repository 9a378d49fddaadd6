"""Sentiment of IMDB reviews: is a film review positive?

    python -m experiments.imdb --cell gru
    python -m experiments.imdb --recipe stacked

Trains on 20,000 of the 25,000 training reviews, validates on the other 5,000, and tests the best
epoch on the 25,000 test reviews.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.cli import parse, run
from experiments.config.imdb import RECIPES, Settings
from experiments.config.settings import flatten
from experiments.runs.restore import arguments

if TYPE_CHECKING:
    import numpy as np

    from experiments.data.corpus import Corpus
    from experiments.data.reviews import TextData
    from experiments.training.task import Task


PROG = "python -m experiments.imdb"
VOCABULARY = "vocabulary.txt"


def main(args: list[str] | None = None) -> int:
    """Parse, load, train; the exit status."""
    args = sys.argv[1:] if args is None else args
    settings = parse(Settings, args, prog=PROG)
    if settings.config is not None:
        args = [*arguments(settings.config, "imdb"), *args]
        settings = parse(Settings, args, prog=PROG)
    if settings.recipe is not None:
        settings = parse(Settings, args, prog=PROG, default=RECIPES[settings.recipe]())
    # Imported behind the parser, so that `--help` and mistakes answer at once.
    from experiments.data.reviews import load_text
    from experiments.runs.directory import RunDir
    from experiments.training.progress import Screen

    seed, cell = settings.training.seed, settings.model.cell
    name = settings.recipe or cell
    directory = RunDir(settings.run.run_dir or Path("runs") / f"imdb-{name}-seed{seed}")
    leader, of = settings.hardware.process_id == 0, settings.text
    if leader:
        directory.check(resume=settings.run.resume)
    screen = Screen(quiet=not leader)

    from experiments.training import compile_cache
    from experiments.training.devices import start
    from experiments.training.loop import Runner

    placement = start(settings.hardware, settings.training.batch_size)
    with placement.together(), compile_cache.kept("imdb", settings):
        text = load_text(of.data, of.data_dir, of.vocabulary, screen.say)
        return Runner(task(settings, text), settings, directory, screen, placement).main()


def task(settings: Settings, text: "TextData") -> "Task":
    """The reviews cut into batches, and the network that reads them."""
    from experiments.data.text_batches import Batches, best_boundaries, split_validation
    from experiments.models import classifier
    from experiments.training.task import Task, digest

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
        model=classifier.build(
            flatten(settings), features=of.embedding, vocabulary=text.vocabulary.size, classes=1
        ),
        train=batches(text.train, rows),
        validation=batches(text.train, held),
        test=batches(text.test),
        inputs=(of.max_length,),
        save=lambda run_dir: text.vocabulary.save(run_dir / VOCABULARY),
        digests={
            "training": digest(*text.train),
            "test": digest(*text.test),
            "vocabulary": text.vocabulary.digest,
        },
    )


if __name__ == "__main__":
    run(main)
