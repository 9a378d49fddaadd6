"""Makes texts of the user's own a data set: which are trained and tested on, classes, ids."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.config.cli import UserError
from experiments.config.imdb import Text
from experiments.data.own_files import LABEL, TEST, TEXT, TRAIN, Row, digest, read
from experiments.data.reviews import TextData
from experiments.data.shuffling import split_test
from experiments.data.source import Say
from experiments.data.text import index, words

MOST_CLASSES = 1000
TEST_FRACTION = 0.2
NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]+)?")


def load_own(asked: Text, seed: int, say: Say) -> TextData:
    """Read the user's texts as ids, words numbered by the training part.

    Args:
        asked: where they are, what to test on, and the number of ids.
        seed: decides which texts are kept for the test, where they do not say it.
        say: gets a line on what was read.

    Raises:
        UserError: a file cannot be read or is not of its form; a text is empty; there is a single
            label, or one that occurs in the test part only. It names file and row.
    """
    file = Path(asked.data)
    train, test = _parts(asked, seed)
    labels = Counter(row.label for row in train)
    for row in test:
        if row.label not in labels:
            raise UserError(
                f"{row.where}: the label {row.label!r} occurs in the test part only; give texts "
                "to train on, too, or leave it out"
            )
    if len(labels) < 2:
        raise UserError(f"{file} has a single label, {train[0].label!r}; two are needed")
    classes = _in_order(labels)
    number = {label: n for n, label in enumerate(classes)}
    numbered = [
        ([row.text for row in rows], [number[row.label] for row in rows]) for rows in (train, test)
    ]
    shown = ", ".join(f"{label} {labels[label]:,}" for label in classes[:20])
    more = "" if len(classes) <= 20 else f" and {len(classes) - 20} more"
    say(f"{file}: {len(train):,} texts to train on ({shown}{more}) and {len(test):,} to test on")
    for line in _doubts(train, test):
        say(line)
    first, second, vocabulary = index(*numbered)
    digests = {"source": digest(file)}
    if asked.test_data is not None:
        digests["test source"] = digest(Path(asked.test_data))
    return TextData(
        f"{file.resolve().name}/" if file.is_dir() else file.name,
        first.limit(asked.vocabulary),
        second.limit(asked.vocabulary),
        vocabulary.first(asked.vocabulary),
        classes,
        digests,
    )


def _parts(asked: Text, seed: int) -> tuple[list[Row], list[Row]]:
    """The texts to train and to test on."""
    rows = read(Path(asked.data))
    labels = {row.label for row in rows}
    if len(labels) > MOST_CLASSES:
        raise UserError(
            f"{asked.data} has {len(labels):,} labels; {MOST_CLASSES:,} are the most: are the "
            f"columns {TEXT} and {LABEL} exchanged?"
        )
    train = [row for row in rows if row.part != TEST]
    test = [row for row in rows if row.part == TEST]
    if not train:
        raise UserError(f"{asked.data} has no text to train on; call some of them {TRAIN}")
    if asked.test_data is not None:
        if test:
            raise UserError(
                f"--test-data is given, and {test[0].where} is to be tested on, too; leave one out"
            )
        test = read(Path(asked.test_data))
        for row in test:
            if row.part == TRAIN:
                raise UserError(
                    f"--test-data: {row.where} is to be trained on; leave it out, or give the file "
                    "to --data alone"
                )
        return train, test
    if test:
        if asked.test_fraction is not None:
            raise UserError(
                f"--test-fraction is given, and {test[0].where} is to be tested on; leave one out"
            )
        return train, test
    fraction = TEST_FRACTION if asked.test_fraction is None else asked.test_fraction
    _, numbers = np.unique([row.label for row in train], return_inverse=True)
    kept, held_out = split_test(numbers, fraction, seed)
    if not len(held_out) and len(set(numbers)) > 1:
        raise UserError(
            f"{asked.data} has one text of each label and none is left to test on; give more, or "
            "--test-data"
        )
    return [train[n] for n in kept], [train[n] for n in held_out]


def _in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """By name; where all are numbers, by these: -1, 9, 9.5, 10."""
    ordered = sorted(labels)
    if all(NUMBER.fullmatch(label) for label in ordered):
        ordered.sort(key=float)
    return tuple(ordered)


def _doubts(train: Sequence[Row], test: Sequence[Row]) -> Iterator[str]:
    """What makes the result on these texts doubtful, though all can be read."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for row in train:
        labels[row.text].add(row.label)
    if again := sum(row.text in labels for row in test):
        yield (
            f"{again:,} of the {len(test):,} texts to test on {_are(again)} trained on, too: the "
            "test accuracy is too good"
        )
    if torn := [text for text, several in labels.items() if len(several) > 1]:
        yield f"{len(torn):,} {_texts(torn)} to train on with more than one label: {torn[0]!r:.40}"
    if bare := [row for row in (*train, *test) if not words(row.text)]:
        yield f"{len(bare):,} {_texts(bare)} without a word: {bare[0].where}"
    tested = {row.label for row in test}
    if untested := sorted({row.label for row in train} - tested):
        yield f"there is no text to test on of {', '.join(map(repr, untested))[:100]}"
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(row.label for row in train):
        alike[label.casefold()].append(label)
    if same := [several for several in alike.values() if len(several) > 1]:
        yield f"the labels {' and '.join(map(repr, same[0]))} differ in their capitals alone"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _texts(found: Sequence[object]) -> str:
    return "text is" if len(found) == 1 else "texts are"
