"""Archives read without TFDS: the same arrays as with it, and every way they can be wrong."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tiny_archives
import tiny_imdb
import tiny_mnist
from packaging.requirements import Requirement
from root import ROOT

from experiments.config.cli import UserError
from experiments.data import __main__ as command
from experiments.data import prepare, raw, tfds
from experiments.data.archives import archives, manual_dir
from experiments.data.images import load_images
from experiments.data.reviews import load_text

# The MD5 of "trainaclImdb/train/pos/0_9.txt" begins with 00, the next ones with 78 and ee; those of
# the test texts with 69 and 1e.
TRAIN = {
    "pos/0_9.txt": b" A good film. ",
    "neg/0_3.txt": b"Bad!\n",
    "neg/1_1.txt": b"caf\xc3\xa9 \xff",
}
TEST = {"pos/3_7.txt": b"\tGood", "neg/2_4.txt": b"A bad end"}
DIGITS = tiny_mnist.sample(60, 20)


@pytest.fixture(params=["tensorflow", "tensorflow_datasets", "array_record"])
def without(monkeypatch, request) -> str:
    """A machine on which one package is not installed."""
    tiny_archives.lack(monkeypatch, request.param)
    return request.param


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A data directory with the archives of both data sets and nothing else."""
    tiny_archives.put(monkeypatch, "imdb", tiny_archives.reviews(TRAIN, TEST), tmp_path / "data")
    tiny_archives.put(monkeypatch, "mnist", tiny_archives.digits(DIGITS), tmp_path / "data")
    return tmp_path / "data"


def read(name: tfds.Name, root: Path, split: tfds.Split) -> list:
    return raw.read(raw.find(name, root, "tensorflow"), split)


def test_lacks_names_what_is_not_installed() -> None:
    assert raw.lacks("numpy", "json") is None
    assert raw.lacks("numpy", "no_such_package_a", "no_such_package_b") == "no_such_package_a"


def test_reviews_come_in_the_order_of_their_digests(root) -> None:
    assert read("imdb", root, "train") == [
        {"text": b"A good film.", "label": 1},
        {"text": b"Bad!", "label": 0},
        {"text": b"caf\xc3\xa9 \xff", "label": 0},
    ]
    assert read("imdb", root, "test") == [
        {"text": b"A bad end", "label": 0},
        {"text": b"Good", "label": 1},
    ]


def test_images_come_in_the_order_of_their_digests(root) -> None:
    """MD5 of "test" + place: 16 comes first, then 13."""
    rows = read("mnist", root, "test")
    assert (rows[0]["image"].shape, rows[0]["image"].dtype) == ((28, 28, 1), np.uint8)
    labels = [row["label"] for row in rows]
    known = {pixels.tobytes(): place for place, pixels in enumerate(DIGITS.test.pixels)}
    places = [known[row["image"].tobytes()] for row in rows]
    assert sorted(places) == list(range(20))
    assert labels == DIGITS.test.labels[places].tolist()
    assert places[:2] == [16, 13]


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_reviews_are_those_that_tfds_prepares_from_the_same_archive(tmp_path, monkeypatch) -> None:
    """TFDS itself, told only that this small archive is the right one."""
    names = [f"{('neg', 'pos')[k % 2]}/{k}_{k % 5}.txt" for k in range(40)]
    texts = {name: b" \n%b caf\xc3\xa9\xff\r\n\0" % name.encode() for name in names}
    files = tiny_archives.reviews(texts, {name: text * 2 for name, text in texts.items()})
    tiny_archives.put(monkeypatch, "imdb", files, tmp_path)
    (archive,) = archives("imdb")
    code = f"""
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from experiments.data.prepare import _child
info = UrlInfo(size={archive.size}, checksum={archive.sha256!r}, filename={archive.name!r})
tfds.builder_cls("imdb_reviews").url_infos = {{{archive.url!r}: info}}
print(_child("imdb_reviews/plain_text", {str(tmp_path)!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "None"
    prepared = tfds.find("imdb", tmp_path)
    assert prepared.counts == {"train": 40, "test": 40, "unsupervised": 1}
    for split in tfds.SPLITS:
        wanted = [(row["text"], int(row["label"])) for row in tfds.read(prepared, split)]
        assert [(row["text"], row["label"]) for row in read("imdb", tmp_path, split)] == wanted
        assert wanted != sorted(wanted)


def test_where_tfds_cannot_prepare_a_training_reads_the_archive(root, said, without) -> None:
    data = load_text("tfds", str(root), 100, said.append)
    assert data.dataset == "imdb"
    assert data.vocabulary.words == ("a", "bad", "café", "film", "good")
    assert data.train.tokens.tolist() == [1, 3, 7, 6, 1, 4, 1, 5]
    assert data.train.labels.tolist() == [1, 0, 0]
    assert data.test.labels.tolist() == [0, 1]
    folder = manual_dir(root)
    assert said == [
        f"reading the reviews and numbering their words, once, straight from {folder}, as "
        f"TFDS cannot prepare imdb without {without}, which is not installed"
    ]
    # Nothing is written beside the archives, and the second start reads none.
    assert sorted(path.name for path in root.iterdir()) == ["downloads"]
    assert load_text("tfds", str(root), 100, said.append).train.labels.tolist() == [1, 0, 0]
    assert len(said) == 1


def test_where_tfds_cannot_prepare_images_are_read_too(root, said, without) -> None:
    data = load_images("auto", str(root), said.append)
    assert data.dataset == "mnist"
    assert sorted(map(bytes, data.train.pixels)) == sorted(map(bytes, DIGITS.train.pixels))
    assert np.bincount(data.test.labels).tolist() == np.bincount(DIGITS.test.labels).tolist()
    assert len(said) == 1
    assert f"straight from {manual_dir(root)}, as TFDS cannot" in said[0]


@pytest.mark.parametrize("missing", ["tensorflow_datasets", "array_record"])
def test_what_cannot_be_read_here_is_as_if_not_prepared(root, monkeypatch, missing) -> None:
    tiny_imdb.write(root, [("prepared", 0)], [("prepared", 1)])
    assert isinstance(prepare.at_hand("imdb", root), tfds.Prepared)
    tiny_archives.lack(monkeypatch, missing)
    assert isinstance(prepare.at_hand("imdb", root), raw.Archives)


def test_prepared_reviews_need_no_tensorflow(root, monkeypatch) -> None:
    tiny_imdb.write(root, [("prepared", 0)], [("prepared", 1)])
    tiny_archives.lack(monkeypatch, "tensorflow")
    assert isinstance(prepare.at_hand("imdb", root), tfds.Prepared)


def test_a_changed_archive_is_read_again(root, said, monkeypatch) -> None:
    tiny_archives.lack(monkeypatch, "tensorflow")
    load_text("tfds", str(root), 100, said.append)
    os.utime(manual_dir(root) / "aclImdb_v1.tar.gz", ns=(1, 1))
    load_text("tfds", str(root), 100, said.append)
    assert len(said) == 2


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("damage", ["flip", "cut", "directory"])
def test_another_file_is_named_and_nothing_is_kept(root, said, cache, damage) -> None:
    path = manual_dir(root) / "aclImdb_v1.tar.gz"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.unlink()
    if damage == "directory":
        path.mkdir()
    else:
        path.write_bytes(content if damage == "flip" else content[:100])
    with pytest.raises(UserError) as caught:
        load_text("auto", str(root), 100, said.append)
    says = {"flip": "its SHA-256 is ", "cut": "it has 100 bytes, not ", "directory": "it is a dir"}
    assert str(caught.value).startswith(f"{path} is not the right file: {says[damage]}")
    assert not cache.exists()


@pytest.mark.parametrize("name", ["imdb", "mnist"])
def test_an_archive_of_something_else_is_one_line(tmp_path, monkeypatch, name) -> None:
    """Of the right digest, so that nothing but the reading itself can notice it."""
    files = {archive.name: b"\x1f\x8b no archive" for archive in archives(name)}
    tiny_archives.put(monkeypatch, name, files, tmp_path)
    with pytest.raises(UserError, match=f"does not hold {name}: "):
        read(name, tmp_path, "train")


def main(capsys, *args: str) -> str:
    command.main(list(args))
    return capsys.readouterr().out


def test_status_says_how_they_are_read(root, capsys, without) -> None:
    out = main(capsys, "status", "--data-dir", str(root))
    why = f"without {without}, which is not installed"
    assert (
        f"imdb: read straight from aclImdb_v1.tar.gz in {manual_dir(root)}, as TFDS cannot "
        f"prepare imdb {why}\n"
    ) in out
    assert "mnist: read straight from " in out
    # A bit turned round is noticed here, too.
    path = manual_dir(root) / "aclImdb_v1.tar.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert f"imdb: {path} is not the right file" in main(capsys, "status", "--data-dir", str(root))
    path.unlink()
    out = main(capsys, "status", "--data-dir", str(root))
    assert f"put into {manual_dir(root)}\n    aclImdb_v1.tar.gz" in out
    assert f"where a training reads them: TFDS cannot prepare imdb {why}" in out


def test_prepare_says_that_there_is_nothing_to_prepare(root, capsys, without) -> None:
    out = main(capsys, "prepare", "imdb", "--data-dir", str(root))
    assert out.startswith("imdb: read straight from aclImdb_v1.tar.gz in ")
    assert without in out


LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}


@pytest.mark.parametrize(
    ("machine", "asked_for"),
    [
        ({}, "tensorflow-datasets array_record importlib_resources tensorflow-cpu"),
        ({"python_version": "3.14"}, "tensorflow-datasets array_record importlib_resources"),
        ({"platform_machine": "aarch64"}, "tensorflow-datasets array_record importlib_resources"),
        (
            {"sys_platform": "darwin", "platform_machine": "arm64"},
            "tensorflow-datasets array_record importlib_resources",
        ),
        ({"sys_platform": "win32", "platform_machine": "AMD64"}, ""),
    ],
)
def test_no_package_is_asked_for_where_it_has_no_wheel(machine, asked_for) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = map(Requirement, project["optional-dependencies"]["experiments"])
    marked = [need for need in needs if need.marker]
    assert " ".join(n.name for n in marked if n.marker.evaluate(LINUX | machine)) == asked_for


@pytest.mark.slow
def test_the_real_reviews_are_the_same_bit_for_bit(data_dir, tmp_path, monkeypatch, said) -> None:
    """The archive is written from what TFDS prepared, under names that give the same order."""
    prepared = tfds.find("imdb", Path(data_dir))
    if prepared is None:
        pytest.skip("needs IMDB prepared: set JAXRNN_DATA_DIR")
    parts = {}
    for split in tfds.SPLITS:
        rows = tfds.read(prepared, split)
        wanted = [(row["text"].decode(), int(row["label"])) for row in rows]
        parts[split] = tiny_archives.named(split, wanted)
    tiny_archives.put(monkeypatch, "imdb", tiny_archives.reviews(**parts), tmp_path)
    first = load_text("tfds", data_dir, 10_000, said.append)
    tiny_archives.lack(monkeypatch, "tensorflow")
    second = load_text("tfds", str(tmp_path), 10_000, said.append)
    assert "straight from" in said[1]
    assert first.vocabulary == second.vocabulary
    for a, b in zip([*first.train, *first.test], [*second.train, *second.test], strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.slow
def test_the_order_is_that_of_the_real_archive(data_dir) -> None:
    """Of the reviews without a label all names are known: `0_0.txt` to `49999_0.txt`.

    So this tells what stands in the first of them, and in neighbours, which are of one film.
    """
    import tensorflow_datasets

    prepared = tfds.find("imdb", Path(data_dir))
    builder = tensorflow_datasets.builder_from_directory(prepared.directory)
    records = builder.as_data_source("unsupervised")
    rows = records.__getitems__(range(len(records)))
    keyed = [(f"aclImdb/train/unsup/{k}_0.txt", {"k": k}) for k in range(len(rows))]
    places = [example["k"] for example in raw._in_order("unsupervised", keyed)]
    texts = dict(zip(places, (row["text"] for row in rows), strict=True))
    assert texts[0].startswith(b"I admit, the great majority of films released before say 1933")
    assert texts[2].startswith(b'William Boyd and Louis Wolheim are the "Two Arabian Knights"')
