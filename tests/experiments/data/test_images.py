"""The images, the order they are read in, and the batches they come in."""

import os
from pathlib import Path

import numpy as np
import pytest
import tiny_mnist
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.config.cli import UserError
from experiments.data import images, prepare, source, tfds
from experiments.data.batch import Batch, Batches
from experiments.data.image_batches import ImageSequences, Reading, moved
from experiments.data.images import Images, as_text, load_images
from experiments.data.prepare import UnavailableError
from experiments.data.sample_digits import draw
from experiments.data.shuffling import FILLER

TINY = tiny_mnist.sample(12, 5)
# Each image of one grey, so that any mix-up shows.
GREYS = Images(
    np.repeat(np.arange(1, 41, dtype=np.uint8), 784).reshape(40, 28, 28),
    (np.arange(40) % 10).astype(np.int32),
)


@pytest.fixture
def tiny(tmp_path) -> str:
    tiny_mnist.write(tmp_path / "tfds", TINY)
    return str(tmp_path / "tfds")


def same(a: images.ImageData, b: images.ImageData) -> bool:
    pairs = zip([*a.train, *a.test], [*b.train, *b.test], strict=True)
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


# What is loaded.


def test_prepared_images_come_as_they_are(tiny, said) -> None:
    data = load_images("tfds", tiny, said.append)
    assert data.dataset == "mnist"
    assert same(data, TINY)
    assert len(said) == 1


def test_the_second_start_decodes_nothing(tiny, said, monkeypatch) -> None:
    load_images("auto", tiny, said.append)
    monkeypatch.setattr(images, "read", None)
    assert same(load_images("auto", tiny, said.append), TINY)


def test_changed_data_is_decoded_again(tiny, said) -> None:
    load_images("tfds", tiny, said.append)
    for path in Path(tiny).rglob("*train*"):
        os.utime(path, ns=(1, 1))
    load_images("tfds", tiny, said.append)
    assert len(said) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign"])
def test_a_damaged_cache_is_made_again(tiny, said, cache, damage) -> None:
    load_images("tfds", tiny, said.append)
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    content[content.index(TINY.train.pixels[3].tobytes())] ^= 1
    if damage == "foreign":
        np.savez(path, train_pixels=np.zeros(3))
    else:
        path.write_bytes(content if damage == "flip" else content[:-100])
    assert same(load_images("tfds", tiny, said.append), TINY)
    assert len(said) == 2
    assert same(load_images("tfds", tiny, said.append), TINY)
    assert len(said) == 2


def test_an_unwritable_cache_is_only_told(tiny, said, tmp_path) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    assert same(load_images("tfds", tiny, said.append), TINY)
    assert "not kept for the next start" in said[-1]


def test_a_damaged_shard_is_an_error_and_nothing_is_kept(tiny, said, cache) -> None:
    shard = next(Path(tiny).rglob("*train*"))
    os.truncate(shard, shard.stat().st_size // 2)
    with pytest.raises(UserError, match="prepare mnist"):
        load_images("auto", tiny, said.append)
    assert not cache.exists()


def test_without_mnist_auto_takes_the_sample_and_says_so(tmp_path, said, monkeypatch) -> None:
    monkeypatch.setattr(prepare, "answers", lambda url: False)
    (tmp_path / "empty").mkdir()
    data = load_images("auto", str(tmp_path / "empty"), said.append)
    assert data.dataset == "sample"
    (banner,) = said
    assert "THIS IS NOT MNIST" in banner
    assert "handwriting" in banner
    assert "idx" in banner
    with pytest.raises(UnavailableError, match="cannot be reached"):
        load_images("tfds", str(tmp_path / "empty"), said.append)
    assert list((tmp_path / "empty").iterdir()) == []
    with pytest.raises(UserError, match="does not exist; correct it"):
        load_images("auto", str(tmp_path / "no"), said.append)


def test_what_is_not_prepared_is_prepared(tmp_path, said, monkeypatch) -> None:
    def prepare(name: str, root: Path, say: object) -> tfds.Prepared | None:
        tiny_mnist.write(root, TINY)
        return tfds.find("mnist", root)

    monkeypatch.setattr(source, "prepare", prepare)
    assert same(load_images("auto", str(tmp_path), said.append), TINY)


def test_an_image_as_text() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[0, 0] = image[1, 1] = image[2, 2] = image[3, 2] = 255
    lines = as_text(image).split("\n")
    assert lines[:3] == ["▀▄".ljust(28), "  █".ljust(28), " " * 28]
    assert len(lines) == 14


# The built-in sample.


def test_the_sample_is_always_the_same(said) -> None:
    data = load_images("sample", None, said.append)
    assert data.dataset == "sample"
    again, labels = draw(len(data.train.labels), stream=0)
    assert np.array_equal(again, data.train.pixels)
    assert np.array_equal(labels, data.train.labels)
    assert said == []
    # Pillow may draw a glyph a grey level off in another version; the labels are ours.
    assert labels[:10].tolist() == [0, 6, 6, 5, 1, 5, 8, 1, 1, 8]


def test_the_sample_is_balanced_and_like_mnist() -> None:
    pixels, labels = draw(1000, stream=0)
    assert (pixels.shape, pixels.dtype, labels.dtype) == ((1000, 28, 28), np.uint8, np.int32)
    assert np.bincount(labels).tolist() == [100] * 10
    # White on black: most is black, each image has some that is bright.
    assert np.median(pixels) == 0
    assert pixels.max((1, 2)).min() > 120
    # Nearly nothing is cut off by the edge.
    assert pixels[:, [0, -1]].mean() < 2
    mass = pixels / pixels.sum((1, 2), keepdims=True)
    centres = (mass.sum(2) * np.arange(28)).sum(1), (mass.sum(1) * np.arange(28)).sum(1)
    assert all(c.min() > 8 and c.max() < 19 and 13 < c.mean() < 14.5 for c in centres)
    assert len(np.unique(pixels.reshape(1000, -1), axis=0)) == 1000


def test_the_sample_is_legible() -> None:
    """The nearest mean image names most digits, of images that were not averaged."""
    (train, labels), (test, truth) = draw(2000, stream=0), draw(500, stream=1)
    means = np.stack([train[labels == digit].mean(0) for digit in range(10)])
    far = ((test[:, None] / 1.0 - means) ** 2).sum((2, 3))
    accuracy = (far.argmin(1) == truth).mean()
    assert 0.6 < accuracy < 0.95


# How an image is read.


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_a_permutation_is_a_bijection_and_fixed_by_its_seed(seed) -> None:
    order = Reading(True, seed).order()
    assert sorted(order.tolist()) == list(range(784))
    assert np.array_equal(order, Reading(True, seed).order())
    assert not np.array_equal(order, Reading(True, seed + 1).order())
    assert (order == np.arange(784)).sum() < 10


def test_the_permutation_of_a_seed_never_changes() -> None:
    """A kept run is read with the permutation of its seed, by any later version."""
    assert Reading(True, 0).order()[:6].tolist() == [673, 353, 747, 378, 350, 466]


def test_lines_pixels_and_permuted_pixels() -> None:
    x = TINY.train.pixels[:3]
    rows, pixels, permuted = (
        reading(x) for reading in (Reading(), Reading(True), Reading(True, 7))
    )
    assert [a.shape for a in (rows, pixels, permuted)] == [(3, 28, 28), (3, 784, 1), (3, 784, 1)]
    assert {a.dtype for a in (rows, pixels, permuted)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(rows, x / 255, rtol=1e-6)
    order = Reading(True, 7).order()
    for n, t in [(0, 400), (1, 300), (2, 783)]:
        assert pixels[n, t, 0] == rows[n, t // 28, t % 28]
        assert permuted[n, t, 0] == pixels[n, order[t], 0]
    back = np.empty_like(permuted)
    back[:, order] = permuted
    assert np.array_equal(back, pixels)
    with pytest.raises(ValueError, match="only single pixels"):
        Reading(False, 7)(x)


# Batches.


def batches_of(rows: int | list[int] | None, size: int, shift: int = 0) -> Batches:
    rows = np.arange(rows) if isinstance(rows, int) else rows
    return Batches(ImageSequences(GREYS, Reading(), shift), rows, size)


def same_batch(a: Batch, b: Batch) -> bool:
    pairs = zip((*a.examples, a.rows), (*b.examples, b.rows), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def check(batch: Batch, size: int) -> list[int]:
    """A batch equals its images one by one; the numbers of these."""
    dtypes = [field.dtype for field in (*batch.examples, batch.rows)]
    assert dtypes == [np.float32, np.int32, np.int32, np.float32, np.int64]
    assert batch.examples.inputs.shape == (size, 28, 28)
    for xs, length, label, weight, row in zip(*batch.examples, batch.rows, strict=True):
        if row == FILLER:
            assert (xs.any(), length, label, weight) == (False, 0, 0, 0)
        else:
            np.testing.assert_allclose(xs, (row + 1) / 255, rtol=1e-6)
            assert (length, label, weight) == (28, row % 10, 1)
    return [row for row in batch.rows.tolist() if row != FILLER]


@given(
    st.lists(st.integers(0, 39), min_size=1, unique=True),
    st.integers(1, 45),
    st.integers(0, 2**32),
    st.integers(0, 1000),
)
@settings(deadline=None)
def test_an_epoch_has_every_image_once(rows, size, seed, epoch) -> None:
    batches = batches_of(rows, size)
    assert batches.examples == len(rows)
    steps = batches.steps_per_epoch
    seen = [row for n in range(steps) for row in check(batches.train(seed, epoch, n), size)]
    assert sorted(seen) == sorted(rows)
    assert [row for batch in batches.evaluation() for row in check(batch, size)] == rows


def test_a_batch_is_a_function_of_seed_epoch_and_step() -> None:
    ones, others = batches_of(40, 7, shift=2), batches_of(40, 7, shift=2)
    asked = [(seed, epoch, step) for seed in (0, 1) for epoch in (0, 1) for step in range(6)]
    straight = {which: ones.train(*which) for which in asked}
    for which in reversed(asked):
        again = others.train(*which)
        assert same_batch(straight[which], again)
    orders = {tuple(straight[which].rows.tolist()) for which in asked}
    assert len(orders) == len(asked)


@given(
    st.lists(st.integers(0, 39), min_size=1, unique=True),
    st.integers(1, 9),
    st.integers(0, 2**32),
    st.integers(0, 1000),
    st.sampled_from([1, 2, 4, 8]),
)
@settings(deadline=None, max_examples=30)
def test_restarted_in_every_process_at_every_step(rows, share, seed, epoch, processes) -> None:
    """The same rest, moves included; every process keeps its own rows, and all have all."""
    size = share * processes
    straight = batches_of(rows, size, shift=2)
    whole = [straight.train(seed, epoch, step) for step in range(straight.steps_per_epoch)]
    kept = []
    for process in range(processes):
        own = slice(process * share, (process + 1) * share)
        kept += [row for batch in whole for row in batch.rows[own].tolist() if row != FILLER]
        for start in range(len(whole)):
            again = batches_of(rows, size, shift=2).train(seed, epoch, start)
            assert same_batch(again, whole[start])
    assert sorted(kept) == sorted(rows)


def test_images_are_moved_as_a_loop_moves_them() -> None:
    x, limit = TINY.train.pixels, 3
    moves = np.random.default_rng(0).integers(-limit, limit + 1, (len(x), 2))
    found = moved(x, moves)
    for image, (down, across), result in zip(x, moves, found, strict=True):
        expected = np.zeros((28, 28), np.uint8)
        for i in range(28):
            for j in range(28):
                if 0 <= i - down < 28 and 0 <= j - across < 28:
                    expected[i, j] = image[i - down, j - across]
        assert np.array_equal(result, expected)
    assert np.array_equal(moved(x, np.zeros((len(x), 2), np.int64)), x)


def test_training_moves_images_and_evaluation_does_not() -> None:
    dot = np.zeros((200, 28, 28), np.uint8)
    dot[:, 10, 10] = 255
    images = ImageSequences(Images(dot, np.zeros(200, np.int32)), Reading(), 2)
    batches = Batches(images, None, 200)
    _, down, across = np.nonzero(batches.train(0, 0, 0).examples.inputs)
    places = list(zip(down.tolist(), across.tolist(), strict=True))
    assert len(places) == 200
    assert set(places) == {(i, j) for i in range(8, 13) for j in range(8, 13)}
    (batch,) = batches.evaluation()
    np.testing.assert_array_equal(batch.examples.inputs * 255, dot)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.array([], int)}, "rows are"),
        ({"rows": np.array([40])}, "from 0 to 39"),
        ({"rows": np.array([-1])}, "from 0 to 39"),
        ({"size": 0}, "batch_size is 0"),
        ({"shift": -1}, "shift is -1"),
    ],
)
def test_mistakes(change, message) -> None:
    usual = {"rows": None, "size": 4, "shift": 0}
    with pytest.raises(ValueError, match=message):
        batches_of(**(usual | change))
    with pytest.raises(ValueError, match="step is 10; an epoch has 10"):
        batches_of(40, 4).train(0, 0, 10)
