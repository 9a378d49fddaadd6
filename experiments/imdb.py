"""Classes of texts: is a film review positive, or what is a text of your own about?

    python -m experiments.imdb --cell gru
    python -m experiments.imdb --recipe stacked
    python -m experiments.imdb --data reviews.csv

Trains on 20,000 of the 25,000 training reviews, validates on the other 5,000, and tests the best
epoch on the 25,000 test reviews. Texts of your own may have any number of classes.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from experiments.config.cli import UserError, run
from experiments.config.imdb import RECIPES, TITLE, Settings, is_own, resolve
from experiments.runs.restore import parse_training

if TYPE_CHECKING:
    from experiments.data.reviews import TextData
    from experiments.data.source import Data
    from experiments.runs.directory import RunDir
    from experiments.runs.results import Loaded
    from experiments.training.task import Task


def main(args: list[str] | None = None) -> int:
    """Parse, load, train; the exit status."""
    args = sys.argv[1:] if args is None else args
    settings = _parse(args)
    # Imported after the parser, so that `--help` and mistakes answer at once.
    from experiments.data.own import load_own
    from experiments.data.reviews import load_text
    from experiments.predict import confusion
    from experiments.report.seeds import in_turn
    from experiments.training.command import train

    def train_one(settings: Settings) -> int:
        tasks: list[Task] = []

        def prepare(say: Callable[[str], None]) -> "Task":
            text = settings.text
            if is_own(text.data):
                read = load_own(text, settings.training.seed, say)
            else:
                data = cast("Data", text.data)
                read = load_text(data, text.data_dir, text.vocabulary, say)
            tasks.append(task(settings, read, say))
            return tasks[0]

        def after(directory: "RunDir", say: Callable[[str], None]) -> None:
            say(f"picture: {confusion.draw(directory, tasks[0].test)}")

        own = is_own(settings.text.data)
        return train(name(settings), settings, prepare, after=after if own else None)

    return in_turn(settings, name, train_one)


def fit(**settings: Any) -> "Loaded":
    """Train from Python: `fit(cell="gru", epochs=3)` is the command with `--cell gru --epochs 3`.

    In a notebook the curves grow as it trains. `UserError` where the command would end with one.
    """
    from experiments.training import notebook

    return notebook.fit(main, _parse, name, settings)


def _parse(args: Sequence[str]) -> Settings:
    settings = resolve(parse_training(Settings, args, "imdb", RECIPES))
    file = settings.text.embeddings
    if file is None:
        return settings
    from experiments.data.vectors import width

    features, given = width(file), settings.text.embedding
    if given not in (features, Settings().text.embedding):
        raise UserError(
            f"--embedding is {given}, and a word in {file} has {features} numbers; leave it out"
        )
    return dataclasses.replace(
        settings, text=dataclasses.replace(settings.text, embedding=features)
    )


def name(settings: Settings) -> str:
    """A run's name, after its data and its recipe or its cell: its directory in `runs`."""
    data = settings.text.data
    about = "imdb"
    if is_own(data):
        about = re.sub(r"[^\w.-]+", "-", Path(data).resolve().stem) or "texts"
    return f"{about}-{settings.recipe or settings.model.cell}-seed{settings.training.seed}"


def task(
    settings: Settings, data: "TextData", say: Callable[[str], None] = lambda line: None
) -> "Task":
    """The texts cut into batches, and the network that reads them."""
    from experiments.data.batch import Batches
    from experiments.data.shuffling import split_validation
    from experiments.data.text_batches import PaddedTexts
    from experiments.data.vectors import load_vectors
    from experiments.models.build import network, set_features
    from experiments.runs.directory import VOCABULARY
    from experiments.training import fits, init_from
    from experiments.training.task import Task, digest

    fits.check(settings, data.vocabulary.size)
    text, training = settings.text, settings.training
    if training.loss != "cross-entropy" and len(data.classes) > 2:
        raise UserError(
            f"--loss {training.loss} is for two classes, and {data.dataset} has "
            f"{len(data.classes)}; leave it out"
        )
    count = len(data.train.labels)
    rows, held_out = split_validation(count, text.validation_fraction, training.seed)
    texts = PaddedTexts(data.train, text.max_length, text.truncate)
    # The same padded lengths in all parts, because each is compiled.
    tests = PaddedTexts(data.test, text.max_length, text.truncate, texts.boundaries)
    model = network(settings, data.vocabulary.size, len(data.classes))
    if text.embeddings is not None:
        vectors = load_vectors(text.embeddings, data.vocabulary, data.train, say)
        set_features(model, vectors.ids, vectors.values)
    began_with = init_from.begin(settings, model, data.vocabulary, data.classes)
    question = "A text." if data.is_own else "A film to remember."
    return Task(
        name="imdb",
        title=_title(data),
        dataset=data.dataset,
        classes=data.classes,
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
            **data.digests,
            **began_with,
            **({} if text.embeddings is None else {"embeddings": vectors.digest}),
        },
        ask=lambda path: f'python -m experiments.predict {path} "{question}"',
    )


def _title(data: "TextData") -> str:
    if data.is_own:
        return f"{data.dataset}, {len(data.classes)} classes"
    return TITLE if data.dataset == "imdb" else "Generated reviews"


if __name__ == "__main__":
    run(main)
