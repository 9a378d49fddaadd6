"""The face of the data: what is loaded, what is kept, what the command says."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_imdb
from root import ROOT

from experiments.config.cli import UserError
from experiments.data import prepare, reviews, source, text, tfds
from experiments.data.batch import Batches
from experiments.data.prepare import UnavailableError
from experiments.data.reviews import SAMPLE_TEST, SAMPLE_TRAIN, load_text
from experiments.data.shuffling import split_validation
from experiments.data.text_batches import PaddedTexts
from experiments.storage import array_cache

TRAIN = [("The film is good. Good!<br />", 1), ("The film isn't good", 0), ("the end", 0)]
TEST = [("A good end", 1), ("", 0)]


@pytest.fixture
def tiny(tmp_path) -> str:
    tiny_imdb.write(tmp_path / "tfds", TRAIN, TEST)
    return str(tmp_path / "tfds")


@pytest.fixture
def no_network(monkeypatch) -> None:
    monkeypatch.setattr(prepare, "answers", lambda url: False)


def message(*args) -> str:
    with pytest.raises(UserError) as caught:
        load_text(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(a: reviews.TextData, b: reviews.TextData) -> bool:
    arrays = zip([*a.train, *a.test], [*b.train, *b.test], strict=True)
    return all(np.array_equal(x, y) for x, y in arrays) and a.vocabulary == b.vocabulary


def test_reviews_become_ids(tiny, said) -> None:
    data = load_text("tfds", tiny, 10_000, said.append)
    assert data.dataset == "imdb"
    # good 3, the 3, film 2; then end, is, isn't once each; "a" is in the test part only.
    assert data.vocabulary.words == ("good", "the", "film", "end", "is", "isn't")
    assert data.train.example(0).tolist() == [1, 4, 5, 7, 3, 3]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.test.example(0).tolist() == [1, 2, 3, 6]
    assert data.test.example(1).tolist() == [1]
    assert len(said) == 1


def test_a_smaller_vocabulary_from_the_same_cache(tiny, said) -> None:
    load_text("tfds", tiny, 10_000, said.append)
    data = load_text("auto", tiny, 5, said.append)
    assert data.vocabulary.words == ("good", "the")
    assert data.vocabulary.size == 5
    assert data.train.example(0).tolist() == [1, 4, 2, 2, 3, 3]
    assert data.train.tokens.max() < 5
    assert data.test.tokens.max() < 5
    assert len(said) == 1


def test_the_second_start_reads_no_review(tiny, said, monkeypatch) -> None:
    first = load_text("tfds", tiny, 100, said.append)
    monkeypatch.setattr(reviews, "read", None)
    assert same(load_text("tfds", tiny, 100, said.append), first)


@pytest.mark.parametrize("label", [-1, 2, 2**31, 2**40, -(2**63)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_another_label_is_no_review(tmp_path, said, cache, label, split) -> None:
    """-1 is what TFDS writes where nobody said: for a loss it would be a number like any other."""
    parts = {"train": TRAIN, "test": TEST}
    parts[split] = [*parts[split], ("good film", label)]
    tiny_imdb.write(tmp_path / "odd", parts["train"], parts["test"])
    assert message("tfds", str(tmp_path / "odd"), 10_000, said.append) == (
        f"{tmp_path}/odd/imdb_reviews/plain_text/1.0.0 does not hold labelled reviews; delete it "
        f"and run `python -m experiments.data prepare imdb --data-dir {tmp_path}/odd`"
    )
    assert not cache.exists()


def test_changed_data_is_read_again(tiny, said) -> None:
    load_text("tfds", tiny, 100, said.append)
    for path in Path(tiny).rglob("*train*"):
        os.utime(path, ns=(1, 1))
    load_text("tfds", tiny, 100, said.append)
    assert len(said) == 2


def test_words_of_other_rules_are_numbered_again(tiny, said, monkeypatch) -> None:
    load_text("tfds", tiny, 100, said.append)
    monkeypatch.setattr(reviews, "TOKENIZER", text.TOKENIZER + 1)
    load_text("tfds", tiny, 100, said.append)
    assert len(said) == 2


def test_kept_words_come_back_even_where_there_are_none(tmp_path, said) -> None:
    tiny_imdb.write(tmp_path, [("", 1)], [("a", 0)])
    first = load_text("tfds", str(tmp_path), 100, said.append)
    assert first.vocabulary == text.Vocabulary(())
    assert same(load_text("tfds", str(tmp_path), 100, said.append), first)
    assert len(said) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"test_offsets": np.array([0, 4, 9])},
        {"test_offsets": np.array([0, 5])},
        {"words": np.uint8([255])},
    ],
)
def test_kept_arrays_that_do_not_fit_are_made_again(tiny, said, cache, change) -> None:
    first = load_text("tfds", tiny, 100, said.append)
    (path,) = cache.iterdir()
    array_cache.save(path, array_cache.load(path) | change)
    assert same(load_text("tfds", tiny, 100, said.append), first)
    assert len(said) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_cache_is_made_again(tiny, said, cache, damage) -> None:
    first = load_text("tfds", tiny, 100, said.append)
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    at = content.index(first.train.tokens.astype("<i4").tobytes())
    content[at] ^= 1
    path.write_bytes(
        {"flip": bytes(content), "cut": content[:-100], "empty": b"", "text": b"tokens"}[damage]
    )
    assert same(load_text("tfds", tiny, 100, said.append), first)
    assert len(said) == 2
    # And kept again.
    assert same(load_text("tfds", tiny, 100, said.append), first)
    assert len(said) == 2


def test_an_unwritable_cache_is_only_told(tiny, said, tmp_path) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    data = load_text("tfds", tiny, 100, said.append)
    assert data.dataset == "imdb"
    assert "not kept for the next start" in said[-1]


def test_a_damaged_shard_is_an_error_and_nothing_is_kept(tiny, said, cache) -> None:
    shard = next(Path(tiny).rglob("*train*"))
    os.truncate(shard, shard.stat().st_size // 2)
    # `auto` is no excuse: the data is there, and broken.
    assert str(shard) in message("auto", tiny, 100, said.append)
    assert not cache.exists()


@pytest.mark.usefixtures("no_network")
def test_auto_takes_the_sample_and_says_so(tmp_path, said) -> None:
    start = time.monotonic()
    (tmp_path / "empty").mkdir()
    data = load_text("auto", str(tmp_path / "empty"), 10_000, said.append)
    assert time.monotonic() - start < 10
    assert data.dataset == "sample"
    assert (len(data.train.labels), len(data.test.labels)) == (SAMPLE_TRAIN, SAMPLE_TEST)
    assert data.vocabulary.size < 10_000
    (banner,) = said
    assert "THIS IS NOT IMDB" in banner
    assert "aclImdb_v1.tar.gz" in banner
    assert banner.count("\n") >= 5
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("choice", ["auto", "tfds"])
def test_what_is_not_prepared_is_prepared(tmp_path, said, monkeypatch, choice) -> None:
    def prepare(name: str, root: Path, say: object) -> tfds.Prepared | None:
        tiny_imdb.write(root, TRAIN, TEST)
        return tfds.find("imdb", root)

    monkeypatch.setattr(source, "prepare", prepare)
    assert load_text(choice, str(tmp_path), 100, said.append).dataset == "imdb"


@pytest.mark.usefixtures("no_network")
def test_tfds_never_falls_back(tmp_path, said) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        load_text("tfds", str(tmp_path), 100, said.append)
    assert said == []


def test_the_sample_is_always_the_same_and_touches_nothing(tmp_path, said) -> None:
    a = load_text("sample", str(tmp_path / "none"), 10_000, said.append)
    assert same(a, load_text("sample", None, 10_000, said.append))
    assert a.dataset == "sample"
    assert set(a.train.labels.tolist()) == {0, 1}
    assert said == []
    assert list(tmp_path.iterdir()) == []


def test_mistakes(tmp_path, said) -> None:
    assert "--vocabulary is 3" in message("sample", None, 3, said.append)
    assert "does not exist; correct it" in message("auto", str(tmp_path / "no"), 9, said.append)
    (tmp_path / "file").write_text("")
    assert "cannot be read" in message("auto", str(tmp_path / "file"), 9, said.append)


@pytest.fixture(scope="module")
def real(data_dir, tmp_path_factory):
    """The real reviews, cold and warm, with the seconds of the warm start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        cold = load_text("tfds", data_dir, 10_000, lambda line: None)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            warm = load_text("tfds", data_dir, 10_000, lambda line: None)
            seconds.append(time.perf_counter() - start)
    return cold, warm, min(seconds)


def test_real_reviews_are_kept_and_come_back_at_once(real) -> None:
    cold, warm, seconds = real
    assert same(cold, warm)
    assert seconds < 0.5


def test_real_words_are_in_the_order_of_keras(real) -> None:
    data = real[0]
    assert data.vocabulary.size == 10_000
    # The first words of Keras's `imdb.get_word_index()`, where "br" stands between "is" and "in".
    first = "the and a of to is in it i this that was as for with movie but film"
    assert " ".join(data.vocabulary.words[:18]) == first
    assert [len(corpus.labels) for corpus in (data.train, data.test)] == [25_000, 25_000]
    assert [int(corpus.labels.sum()) for corpus in (data.train, data.test)] == [12_500, 12_500]
    assert data.vocabulary.decode(data.train.example(0)).startswith(
        "<start> this was an absolutely terrible movie don't be"
    )


def test_real_padding_is_little(real) -> None:
    corpus = real[0].train
    rows, _ = split_validation(len(corpus.labels), 0.2, 0)
    batcher = Batches(PaddedTexts(corpus, 500), rows, 128)
    plan = batcher.plan(0, 0)
    steps = np.minimum(corpus.lengths[rows], 500).sum()
    assert 1 - steps / (128 * plan.details.sum()) < 0.15
    assert len(set(plan.details.tolist())) <= 6


def command(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments.data", *args],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_answers_at_once() -> None:
    # Processor seconds: what the clock says depends on who else uses the machine.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert "prepare" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_status_says_what_goes_where(tiny) -> None:
    done = command("status", "--data-dir", tiny)
    assert done.returncode == 0
    assert (
        f"imdb: prepared in {tiny}/imdb_reviews/plain_text/1.0.0 (3 train, 2 test)" in done.stdout
    )
    assert f"put into {tiny}/downloads/manual" in done.stdout
    assert "train-images-idx3-ubyte.gz, 9,912,422 bytes, SHA-256 440fcabf73cc546f" in done.stdout
    assert f"prepare mnist --data-dir {tiny}" in done.stdout
    assert done.stderr == ""


def test_status_looks_at_files_put_there(tmp_path) -> None:
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "aclImdb_v1.tar.gz").write_bytes(b"half of it")
    assert (
        "it has 10 bytes, not 84,125,825" in command("status", "--data-dir", str(tmp_path)).stdout
    )


def test_prepare_of_something_prepared(tiny) -> None:
    done = command("prepare", "imdb", "--data-dir", tiny)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("imdb: prepared in ")


def test_show_decodes(tiny) -> None:
    done = command("show", "imdb", "2", "--split", "train", "--data-dir", tiny)
    assert done.stdout.split("\n\n") == [
        "[train 0] positive: <start> the film is good good",
        "[train 1] negative: <start> the film isn't good",
        "",
    ]
    done = command("show", "imdb", "1", "--vocabulary", "5", "--split", "test", "--data-dir", tiny)
    assert done.stdout.startswith("[test 0] positive: <start> <unknown> good <unknown>\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["show", "imdb", "4"], "count is 4; imdb train has 3"),
        (["show", "imdb", "0"], "error: count is 0; give a number at least 1"),
        (["show", "cifar", "1"], "cifar"),
        (["prepare"], "imdb,mnist is missing"),
        (["stauts"], "stauts"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tiny, args, says) -> None:
    options = ["--data-dir", tiny] if len(args) > 1 else []
    done = command(*args, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") <= 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
