"""Reads the digit on a photo, whatever surrounds it (`pictures.KINDS`)."""

import functools

import numpy as np
import pictures
import pytest
from tiny_mnist import sample

from experiments.data.images import load_images
from experiments.predict import image, user_image
from experiments.runs.directory import RunDir


def read(picture, say=lambda line: None):
    return user_image.normalize(user_image._grey(picture, "it"), "it", say)


def digits(count):
    return sample(2 * count, count)[1].pixels[:count]


@functools.cache
def on_clean_paper():
    """What is read of each of ten digits of fonts, on clean paper."""
    return [
        read(pictures.clean(digit, np.random.default_rng([0, n]))).astype(float)
        for n, digit in enumerate(digits(10))
    ]


@pytest.mark.parametrize("kind", [kind for kind in pictures.KINDS if kind != "clean"])
def test_it_is_read_as_it_stands_alone(kind):
    """Of ten digits of fonts: nearly the same image as that of the digit on clean paper."""
    alike = []
    for n, (digit, clean) in enumerate(zip(digits(10), on_clean_paper(), strict=True)):
        other = read(pictures.KINDS[kind](digit, np.random.default_rng([0, n]))).astype(float)
        alike.append(np.corrcoef(clean.ravel(), other.ravel())[0, 1])
    # A thin pen's strokes have another width; what else was read would have about 0.3.
    assert np.median(alike) > (0.65 if kind == "thin pen" else 0.9)
    assert min(alike) > 0.5


def test_two_digits_and_one_that_is_cut_are_said():
    one, other, *_ = digits(2)
    rng = np.random.default_rng(0)
    said = []
    read(pictures.two(one, other, rng), said.append)
    assert said == ["the ink of it falls into 2 large parts; is it one digit?"]
    said.clear()
    read(pictures.cut(one, rng), said.append)
    assert said == ["the ink touches the edge of it; is the whole digit on it?"]


@pytest.mark.slow  # needs MNIST, and a network that is trained on it
@pytest.mark.parametrize("kind", pictures.KINDS)
def test_nineteen_of_twenty_are_right(kind, mnist_gru):
    run, data = mnist_gru
    images = [
        read(pictures.KINDS[kind](data.pixels[n], np.random.default_rng([0, n])))
        for n in range(100)
    ]
    answers = image.classify(RunDir(run), np.array(images)).argmax(1)
    assert (answers == data.labels[:100]).mean() >= 0.95


@pytest.fixture(scope="session")
def mnist_gru(tmp_path_factory):
    from experiments import mnist

    path = str(tmp_path_factory.mktemp("runs") / "gru")
    assert mnist.main(["--cell", "gru", "--data", "tfds", "--run-dir", path]) == 0
    return path, load_images("tfds", None, print).test
