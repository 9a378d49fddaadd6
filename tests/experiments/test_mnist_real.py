"""The real MNIST, prepared by TFDS from its four archives. By hand: `pytest -m slow`."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from root import ROOT

from experiments import mnist
from experiments.data.images import load_images
from experiments.data.prepare import prepare
from experiments.predict import image
from experiments.predict.user_image import normalize
from experiments.runs.directory import RunDir

pytestmark = pytest.mark.slow

ARCHIVES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


@pytest.fixture(scope="module")
def manual() -> Path:
    """The folder of the archives; only to be read."""
    beside = ROOT.parent / "shared" / "tensorflow_datasets"
    root = Path(os.environ.get("JAXRNN_DATA_DIR", beside))
    if not (root / "downloads" / "manual" / ARCHIVES["train"][0]).exists():
        pytest.skip("needs MNIST's archives in JAXRNN_DATA_DIR/downloads/manual")
    return root / "downloads" / "manual"


@pytest.fixture(scope="module")
def prepared(manual, tmp_path_factory):
    """A data directory of our own, and a cache of our own."""
    root = tmp_path_factory.mktemp("tfds")
    (root / "downloads").mkdir()
    (root / "downloads" / "manual").symlink_to(manual)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        prepare("mnist", root, lambda line: None)
        yield str(root)


def test_the_images_are_the_bytes_of_the_archives(prepared, manual) -> None:
    """Read independently: 16 bytes of header and the pixels, 8 bytes of header and the labels.

    TFDS shuffles, so that both are compared as sorted lists of (label, pixels).
    """
    data = load_images("tfds", prepared, lambda line: None)
    for split, (images, labels) in ARCHIVES.items():
        pixels = np.frombuffer(gzip.decompress((manual / images).read_bytes())[16:], np.uint8)
        digits = np.frombuffer(gzip.decompress((manual / labels).read_bytes())[8:], np.uint8)
        wanted = sorted(zip(digits.tolist(), map(bytes, pixels.reshape(-1, 784)), strict=True))
        part = data.train if split == "train" else data.test
        found = zip(part.labels.tolist(), (image.tobytes() for image in part.pixels), strict=True)
        assert len(wanted) == {"train": 60_000, "test": 10_000}[split]
        assert sorted(found) == wanted


def test_mnist_stays_as_it_is_when_made_like_mnist(prepared) -> None:
    """The rules of `picture.normalize` are those that MNIST was made by."""
    images = load_images("tfds", prepared, lambda line: None).test.pixels[:1000]
    away = [np.abs(normalize(image).astype(int) - image).max() for image in images]
    assert (np.array(away) <= 26).mean() > 0.95


def test_a_short_run(prepared, tmp_path) -> None:
    path = tmp_path / "run"
    args = ["--run-dir", str(path), "--data", "tfds", "--data-dir", prepared, "--epochs", "3",
            "--examples", "10000", "--cell", "gru", "--units", "64"]  # fmt: skip
    assert mnist.main(args) == 0
    run = RunDir(path)
    assert run.summary()["test_accuracy"] > 0.93
    images, labels = load_images("tfds", prepared, lambda line: None).test
    large = [normalize(np.kron(255 - image, np.ones((9, 9)))) for image in images[:500]]
    read = image.classify(run, np.array(large)).argmax(1)
    assert (read == labels[:500]).mean() > 0.9
