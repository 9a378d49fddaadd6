"""Reading prepared data: what is found, what is read, and what damage looks like."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_imdb
from root import ROOT

from experiments.config.cli import UserError
from experiments.data import tfds
from experiments.data.tfds import data_root, find, read

TRAIN = [(f"Review {i}: café, don't.<br />" * (1 + i % 50), i % 2) for i in range(100)]
TEST = [(f"Test {i}", 1 - i % 2) for i in range(30)]
BLOCK = 64 * 1024  # of an array_record file


def message(call, *args) -> str:
    with pytest.raises(UserError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shards", [1, 3])
def test_read_gives_what_was_written(tmp_path, shards) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST, shards)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepared = find("imdb", tmp_path)
    assert prepared == ("imdb", directory, {"train": 100, "test": 30})
    assert prepared.root == tmp_path
    for split, reviews in (("train", TRAIN), ("test", TEST)):
        got = [(row["text"].decode(), int(row["label"])) for row in read(prepared, split)]
        assert got == reviews
    # Not a byte is written beside the data.
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_reading_imports_no_tensorflow(tmp_path) -> None:
    tiny_imdb.write(tmp_path, TRAIN, TEST)
    code = (
        "import sys; from pathlib import Path; from experiments.data.tfds import find, read\n"
        "from experiments.data.archives import archives; archives('imdb'), archives('mnist')\n"
        f"assert len(read(find('imdb', Path({str(tmp_path)!r})), 'train')) == 100\n"
        "assert 'tensorflow_datasets' in sys.modules\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_finding_imports_nothing_heavy(tmp_path) -> None:
    tiny_imdb.write(tmp_path, TRAIN, TEST)
    code = (
        "import sys; from pathlib import Path; from experiments.data.tfds import find\n"
        f"find('imdb', Path({str(tmp_path)!r})).fingerprint()\n"
        "sys.exit(bool({'jax', 'numpy', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_real_reviews(data_dir) -> None:
    prepared = find("imdb", Path(data_dir))
    assert prepared is not None
    rows = read(prepared, "train")
    assert len(rows) == 25_000
    assert sum(row["label"] for row in rows) == 12_500
    assert rows[0]["text"].startswith(b"This was an absolutely terrible movie.")
    assert rows[0]["label"] == 0


def test_nothing_prepared(tmp_path) -> None:
    assert find("imdb", tmp_path) is None
    assert find("imdb", tmp_path / "none") is None
    (tmp_path / "imdb_reviews" / "plain_text" / "incomplete.ABC_1.0.0").mkdir(parents=True)
    assert find("imdb", tmp_path) is None


def test_the_newest_version_is_taken(tmp_path) -> None:
    old = tiny_imdb.write(tmp_path, TRAIN, TEST)
    for version in ("2.0.0", "10.0.0"):
        shutil.copytree(old, old.parent / version)
    assert find("imdb", tmp_path).directory.name == "10.0.0"


def test_data_root(tmp_path, monkeypatch) -> None:
    assert data_root(str(tmp_path)) == tmp_path
    assert data_root(str(tmp_path / "none")) == tmp_path / "none"
    monkeypatch.chdir(tmp_path)
    assert data_root("relative") == tmp_path / "relative"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "from_tfds"))
    assert data_root(None) == tmp_path / "from_tfds"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_root(None) == Path.home() / "tensorflow_datasets"
    (tmp_path / "file").write_text("")
    for mistaken in ("file", "file/below"):
        said = message(data_root, str(tmp_path / mistaken))
        assert said.startswith(f"--data-dir {tmp_path / mistaken} cannot be read (Not a directory)")
    # No flag is said to be wrong that was not given.
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file"))
    said = message(data_root, None)
    assert said.startswith(f"$TFDS_DATA_DIR, {tmp_path / 'file'} cannot be read (Not a directory)")


def test_our_default_is_that_of_tfds() -> None:
    from tensorflow_datasets.core import constants

    # TFDS reads the variable when it is imported; nobody changes it here before that.
    assert str(data_root(None)) == os.path.abspath(constants.DATA_DIR)


def test_a_directory_that_may_not_be_read(tmp_path, monkeypatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # By a stand-in: these tests may run as a user to whom nothing is forbidden.
    monkeypatch.setattr(tfds.os, "listdir", refuse)
    assert "cannot be read (Permission denied)" in message(data_root, str(tmp_path))


def test_the_fingerprint_follows_the_files(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    prepared = find("imdb", tmp_path)
    prints = {prepared.fingerprint()}
    assert prepared.fingerprint() in prints
    shard = next(directory.glob("*train*"))
    os.utime(shard, ns=(1, 1))
    prints.add(prepared.fingerprint())
    shard.rename(directory / "other")
    prints.add(prepared.fingerprint())
    (directory / "other").write_bytes(b"")
    os.utime(directory / "other", ns=(1, 1))
    prints.add(prepared.fingerprint())
    assert len(prints) == 4


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, -BLOCK, -1])
def test_a_truncated_shard_is_named(tmp_path, size) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN * 20, TEST)
    shard = next(directory.glob("*train*"))
    full = shard.stat().st_size
    assert full >= 4 * BLOCK
    os.truncate(shard, size if size >= 0 else full + size)
    said = message(read, find("imdb", tmp_path), "train")
    assert str(shard) in said
    assert f"delete {directory} and run `python -m experiments.data prepare imdb" in said
    # The other split is whole.
    assert len(read(find("imdb", tmp_path), "test")) == 30


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (ValueError("a\n  b"), "a b"),
        (ValueError(), "ValueError"),
        ("four five six", "four five six"),
        ("four five sixes", "four five ..."),
        ("x" * 20, "x" * 10 + "..."),
    ],
)
def test_a_long_reason_is_cut_between_words(reason, said) -> None:
    assert tfds.brief(reason, 13) == said


def test_the_complaint_of_foreign_code_is_cut_between_words(tmp_path) -> None:
    prepared = tfds.Prepared("imdb", tmp_path / "a" / "b" / "c", {})
    said = str(tfds._damaged(prepared, tmp_path, OSError("Failed to read\n" * 20)))
    assert said.startswith(f"{tmp_path} cannot be used: Failed to read Failed to read ")
    assert " ...; delete" in said


def test_a_shard_cut_to_its_first_block_would_be_read_as_nothing(tmp_path) -> None:
    # Why records are counted: TFDS reads such a shard without complaint, each value as None.
    directory = tiny_imdb.write(tmp_path, TRAIN * 20, TEST)
    os.truncate(next(directory.glob("*train*")), BLOCK)
    assert "records, not 2,000" in message(read, find("imdb", tmp_path), "train")


def test_the_damaged_shard_of_several_is_named(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST, shards=3)
    shard = directory / tiny_imdb.SHARD.format(split="train", k=1, of=3)
    content = bytearray(shard.read_bytes())
    at = content.index(b"\x0a\x04text") if b"\x0a\x04text" in content else 200
    content[at] ^= 1
    shard.write_bytes(content)
    assert message(read, find("imdb", tmp_path), "train").startswith(f"{shard} cannot be used:")


def test_no_flipped_bit_changes_a_review(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    shard = next(directory.glob("*test*"))
    good, prepared = shard.read_bytes(), find("imdb", tmp_path)
    expected = read(prepared, "test")
    used = max(i for i in range(BLOCK) if good[i]) + 1
    caught = 0
    for k in range(60):
        at = k * used // 60
        shard.write_bytes(good[:at] + bytes([good[at] ^ 1 << k % 8]) + good[at + 1 :])
        try:
            assert read(prepared, "test") == expected
        except UserError:
            caught += 1
    assert caught > 50


def test_missing_and_foreign_shards(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    prepared = find("imdb", tmp_path)
    train, test = (next(directory.glob(f"*{split}*")) for split in ("train", "test"))
    shutil.copy(test, train)
    assert f"{train} cannot be used: 30 records, not 100;" in message(read, prepared, "train")
    train.unlink()
    assert re.match(f"{train} cannot be used: .*No such file", message(read, prepared, "train"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_data_set_without_a_shard_is_not_called_prepared(tmp_path, split) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST, shards=3)
    shard = directory / tiny_imdb.SHARD.format(split=split, k=1, of=3)
    shard.unlink()
    said = message(find, "imdb", tmp_path)
    assert said.startswith(f"{shard} cannot be used: it is missing; delete {directory} and run")


def test_a_split_that_nobody_reads_may_be_missing(tmp_path) -> None:
    """As where the reviews without a label were deleted: they count no longer."""
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    path = directory / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"].append({"name": "unsupervised", "shardLengths": ["50", "50"]})
    path.write_text(json.dumps(info))
    assert find("imdb", tmp_path).counts == {"train": 100, "test": 30}
    for k in range(2):
        (directory / tiny_imdb.SHARD.format(split="unsupervised", k=k, of=2)).write_bytes(b"")
    assert find("imdb", tmp_path).counts == {"train": 100, "test": 30, "unsupervised": 100}


def test_shards_have_the_names_that_the_description_gives(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    path = directory / "dataset_info.json"
    path.write_text(path.read_text().replace("{SHARD_X_OF_Y}", "{SHARD_INDEX}_{NUM_SHARDS}"))
    for split in ("train", "test"):
        shard = directory / tiny_imdb.SHARD.format(split=split, k=0, of=1)
        shard.rename(directory / f"imdb_reviews-{split}.array_record-00000_00001")
    assert find("imdb", tmp_path).counts == {"train": 100, "test": 30}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "it is missing"),
        ("", "no description of a data set"),
        ("{", "no description of a data set"),
        ("[]", "no description of a data set"),
        ('{"fileFormat": "array_record", "splits": [3]}', "no description of a data set"),
        ('{"fileFormat": "array_record", "splits": []}', "it has no split train"),
    ],
)
def test_a_damaged_description(tmp_path, content, says) -> None:
    path = tiny_imdb.write(tmp_path, TRAIN, TEST) / "dataset_info.json"
    path.unlink() if content is None else path.write_text(content)
    said = message(find, "imdb", tmp_path)
    assert str(path) in said
    assert says in said


def test_damaged_features(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST)
    (directory / "features.json").write_text("{")
    assert str(directory) in message(read, find("imdb", tmp_path), "train")


def test_another_format_is_named_with_a_way_out(tmp_path) -> None:
    directory = tiny_imdb.write(tmp_path, TRAIN, TEST, file_format="tfrecord")
    assert json.loads((directory / "dataset_info.json").read_text())["fileFormat"] == "tfrecord"
    said = message(find, "imdb", tmp_path)
    assert "tfrecord" in said
    assert f"prepare imdb --data-dir {tmp_path / 'array_record'}" in said
