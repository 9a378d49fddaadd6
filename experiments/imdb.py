"""Sentiment of IMDB reviews: is a film review positive?

    python -m experiments.imdb --cell gru
    python -m experiments.imdb --recipe stacked

Trains on 20,000 of the 25,000 training reviews, validates on the other 5,000, and tests the best
epoch on the 25,000 test reviews.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from experiments.config.cli import run
from experiments.config.imdb import RECIPES, TITLE, Settings, resolve
from experiments.runs.restore import parse_training

if TYPE_CHECKING:
    from experiments.data.reviews import TextData
    from experiments.runs.results import Loaded
    from experiments.training.task import Task


def main(args: list[str] | None = None) -> int:
    """Parse, load, train; the exit status."""
    args = sys.argv[1:] if args is None else args
    settings = _parse(args)
    # Imported after the parser, so that `--help` and mistakes answer at once.
    from experiments.data.reviews import load_text
    from experiments.report.seeds import in_turn
    from experiments.training.command import train

    def train_one(settings: Settings) -> int:
        def prepare(say: Callable[[str], None]) -> "Task":
            text = settings.text
            return task(settings, load_text(text.data, text.data_dir, text.vocabulary, say))

        return train(name(settings), settings, prepare)

    return in_turn(settings, name, train_one)


def fit(**settings: Any) -> "Loaded":
    """Train from Python: `fit(cell="gru", epochs=3)` is the command with `--cell gru --epochs 3`.

    In a notebook the curves grow as it trains. `UserError` where the command would end with one.
    """
    from experiments.training import notebook

    def directory(args: list[str]) -> str:
        parsed = _parse(args)
        return parsed.run.run_dir or f"runs/{name(parsed)}"

    return notebook.fit(main, directory, settings)


def _parse(args: Sequence[str]) -> Settings:
    return resolve(parse_training(Settings, args, "imdb", RECIPES))


def name(settings: Settings) -> str:
    """A run's name, after its recipe or its cell: its directory in `runs`."""
    return f"imdb-{settings.recipe or settings.model.cell}-seed{settings.training.seed}"


def task(settings: Settings, data: "TextData") -> "Task":
    """The reviews cut into batches, and the network that reads them."""
    from experiments.data.batch import Batches
    from experiments.data.shuffling import split_validation
    from experiments.data.text_batches import PaddedTexts
    from experiments.models.build import network
    from experiments.runs.directory import VOCABULARY
    from experiments.training import fits, init_from
    from experiments.training.task import Task, digest

    fits.check(settings, data.vocabulary.size)
    text, training = settings.text, settings.training
    count = len(data.train.labels)
    rows, held_out = split_validation(count, text.validation_fraction, training.seed)
    texts = PaddedTexts(data.train, text.max_length, text.truncate)
    # The same padded lengths in all parts, because each is compiled.
    tests = PaddedTexts(data.test, text.max_length, text.truncate, texts.boundaries)
    model = network(settings, data.vocabulary.size)
    began_with = init_from.begin(settings, model, data.vocabulary)
    return Task(
        name="imdb",
        title=TITLE if data.dataset == "imdb" else "Generated reviews",
        dataset=data.dataset,
        model=model,
        train=Batches(texts, rows, training.batch_size),
        validation=Batches(texts, held_out, training.batch_size),
        test=Batches(tests, None, training.batch_size),
        inputs=(text.max_length,),
        save=lambda run_dir: data.vocabulary.save(run_dir / VOCABULARY),
        digests={
            "training": digest(*data.train),
            "test": digest(*data.test),
            "vocabulary": data.vocabulary.digest,
            **began_with,
        },
        ask=lambda path: f'python -m experiments.predict {path} "A film to remember."',
    )


if __name__ == "__main__":
    run(main)
