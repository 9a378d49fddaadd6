"""Declares the settings of the MNIST task."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from experiments.config.cli import Range, UserError, path
from experiments.config.settings import COMMON, Hardware, Model, Run, Share, Training, flat


@dataclasses.dataclass(frozen=True)
class Image:
    """The images."""

    data: Literal["auto", "tfds", "sample"] = "auto"
    """tfds: MNIST, or an error. auto: MNIST, or the built-in sample where it is out of reach."""
    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    pixels: bool = False
    """Read pixel by pixel: 784 steps of 1 instead of 28 steps of 28."""
    permute: Annotated[int | None, Range(0, 2**31 - 1), path("no permutation", metavar="SEED")] = (
        None
    )
    """Read the pixels in a fixed random order, the one of this seed; includes --pixels."""
    examples: Annotated[int, Range(2, 10**6)] = 50000
    """Use so many of the training images, from the first on; all where there are fewer."""
    validation_fraction: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.1
    """Share of these that is kept for validation."""
    shift: Annotated[int, Range(0, 27)] = 2
    """Each training image is moved by up to so many pixels in both directions, at random."""


@dataclasses.dataclass(frozen=True)
class ImageModel(Model):
    """The network."""

    dropout: Annotated[float, Share] = 0.0
    """Share dropped between layers and of the readout."""


@flat
@dataclasses.dataclass(frozen=True)
class Settings:
    """Train a recurrent network to read the handwritten digits of MNIST.

    example: python -m experiments.mnist --cell gru --run-dir runs/mnist-gru
    """

    COMMON: ClassVar = ("data", "data_dir", "pixels", "permute", *COMMON)
    HIDDEN: ClassVar = ("word_dropout", "loss")

    config: Annotated[str | None, path("none", metavar="FILE")] = None
    """Begin with the settings of a run, its config.json; any other flag overrides them."""
    image: Image = Image()
    model: ImageModel = ImageModel(units=128, readout="last")
    # Stopping early would miss the end of the schedule, where the accuracy still rises.
    training: Training = Training(
        batch_size=32,
        epochs=10,
        optimizer="adam",
        learning_rate=0.002,
        average=0.999,
        patience=10,
    )
    run: Run = Run()
    hardware: Hardware = Hardware()


def resolve(settings: Settings) -> Settings:
    """The settings with what follows from them; `UserError` where they contradict themselves."""
    if settings.model.word_dropout:
        raise UserError("--word-dropout drops words and there are none; leave it out")
    if settings.training.loss != "cross-entropy":
        raise UserError(f"--loss {settings.training.loss} is for two classes; leave it out")
    if settings.image.permute is None:
        return settings
    return dataclasses.replace(settings, image=dataclasses.replace(settings.image, pixels=True))


def variant(settings: Settings) -> str:
    """What is read: "rows", "pixels" or "permuted pixels"."""
    if settings.image.permute is not None:
        return "permuted pixels"
    return "pixels" if settings.image.pixels else "rows"
