"""Vectors of words: the rows that they become, what is said of them, and what they may not be."""

import hashlib
import re

import jax
import numpy as np
import pytest
from flax import nnx
from small_run import TEXT, runner

from experiments import imdb
from experiments.config.cli import UserError, parse
from experiments.config.imdb import Settings
from experiments.data.text import Corpus, Vocabulary
from experiments.data.vectors import load_vectors, width
from experiments.models.ensemble import members

WORDS = Vocabulary(("film", "good", "plot"))
TRAIN = Corpus(np.array([1, 3, 3, 4, 2]), np.array([0, 5]), np.array([0]))
GLOVE = "the 9 9 9\ngood 0.5 -1 2e-1\nfilm you 7 7 7\nplot 1 2 3\ngood 4 4 4\n\n映画 1 1 1\n"


def load(tmp_path, content):
    path = tmp_path / "v.txt"
    path.write_text(content, encoding="utf-8")
    said = []
    return load_vectors(str(path), WORDS, TRAIN, said.append), said, path


def test_words_get_their_numbers(tmp_path):
    found, said, path = load(tmp_path, GLOVE)
    assert found.ids.tolist() == [4, 5]
    np.testing.assert_array_equal(found.values, np.float32([[0.5, -1, 0.2], [1, 2, 3]]))
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert said == [
        f"{path}: features of 2 of the vocabulary's 3 words (66.7%), 25.0% of the words in the "
        "training texts"
    ]
    with_head, _, path = load(tmp_path, f"6 3\n{GLOVE}")
    np.testing.assert_array_equal(with_head.values, found.values)
    assert width(str(path)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "begins with no word and its numbers"),
        ("good\n", "begins with no word and its numbers"),
        ("good x 1\n", "begins with no word and its numbers"),
        ("the 1 2\ngood 1\n", "row 2: there are 1 numbers, and 2 in the first row"),
        ("the 1 2\ngood 1 2 3\n", "row 2: there are 3 numbers, and 2 in the first row"),
        ("the 1 2\ngood 1 x\n", "row 2: these are not 2 finite numbers"),
        ("the 1 2\ngood 1 nan\n", "row 2: these are not 2 finite numbers"),
        ("the 1 2\n", "has none of the vocabulary's 3 words"),
    ],
)
def test_a_mistake_is_one_line_with_the_row(tmp_path, content, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load(tmp_path, content)
    assert str(caught.value).startswith(f"--embeddings {tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none cannot be read: No such file"):
        width(str(tmp_path / "none"))


@pytest.mark.parametrize("count", [1, 2])
def test_a_network_begins_with_them_and_is_else_as_it_was_drawn(tmp_path, count):
    path = tmp_path / "v.txt"
    path.write_text("good 1 2 3\nbad -1 -2 -3\n")
    flags = ("--members", str(count))
    drawn = nnx.state(runner(tmp_path / "a", *flags).task.model, nnx.Param)
    run = runner(tmp_path / "b", *flags, "--embeddings", str(path))
    assert run.task.digests["embeddings"] == hashlib.sha256(path.read_bytes()).hexdigest()
    good, bad = (TEXT.vocabulary.encode(word)[1] for word in ("good", "bad"))
    plain = runner(tmp_path / "a", *flags).task.model
    for member, other in zip(members(run.task.model), members(plain), strict=True):
        table = np.asarray(member.embedding.embedding.get_value())
        before = np.array(other.embedding.embedding.get_value())
        before[[good, bad]] = [[1, 2, 3], [-1, -2, -3]]
        np.testing.assert_array_equal(table, before)
        member.embedding = other.embedding
    rest = nnx.state(run.task.model, nnx.Param)
    for one, two in zip(jax.tree.leaves(rest), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_array_equal(one, two)


def test_their_width_is_the_embeddings(tmp_path, monkeypatch):
    path = tmp_path / "v.txt"
    path.write_text("good 1 2 3\n")
    args = ["--embeddings", str(path), "--data", "sample"]
    assert imdb._parse(args).text.embedding == 3
    assert imdb._parse([*args, "--embedding", "3"]).text.embedding == 3
    with pytest.raises(UserError, match=r"--embedding is 4, and a word in .* has 3 numbers; leave"):
        imdb._parse([*args, "--embedding", "4"])
    with pytest.raises(UserError, match="--embeddings and --init-from both say what to begin"):
        imdb._parse([*args, "--init-from", "runs/x"])
    assert parse(Settings, []).text.embeddings is None


def test_a_run_goes_on_with_the_same_vectors_alone(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("good 1 2 3\n")
    flags = ("--embeddings", str(path))
    runner(tmp_path / "run", "--epochs", "1", "--schedule", "constant", *flags).fit()
    moved = path.rename(tmp_path / "w.txt")
    more = ("--epochs", "2", "--schedule", "constant", "--resume", "--embeddings", str(moved))
    assert runner(tmp_path / "run", *more).fit()["best_epoch"] in (1, 2)
    moved.write_text("good 1 2 4\n")
    with pytest.raises(UserError, match="--resume: the embeddings data is not what this run was"):
        runner(tmp_path / "run", *more).fit()
    with pytest.raises(UserError, match="--embeddings is None, but this run was started with"):
        runner(tmp_path / "run", "--epochs", "2", "--schedule", "constant", "--resume").fit()
