"""Builds the network that settings describe, with fresh weights or with none."""

from typing import Any

import numpy as np
from flax import nnx

import jaxrnn
from experiments.config import imdb, mnist
from experiments.config.settings import Model
from experiments.data.image_batches import Reading
from experiments.data.images import CLASSES
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble, members


def network(
    settings: imdb.Settings | mnist.Settings, vocabulary: int | None, classes: int = 2
) -> Any:
    """The network of a task, freshly drawn.

    Args:
        settings: what it is made of.
        vocabulary: number of ids; None for images.
        classes: of texts; two have one logit together.
    """
    model, seed = settings.model, settings.training.seed
    if isinstance(settings, mnist.Settings):
        _, features = reading(settings).shape
        return build(model, seed, features=features, classes=CLASSES)
    text = settings.text
    return build(
        model,
        seed,
        features=text.embedding,
        vocabulary=vocabulary,
        bigrams=text.bigrams,
        classes=1 if classes == 2 else classes,
    )


def shapes(
    settings: imdb.Settings | mnist.Settings, vocabulary: int | None, classes: int = 2
) -> tuple[nnx.GraphDef, Any]:
    """What `nnx.split` makes of `network`, without a number in it: for weights from elsewhere."""
    return nnx.split(nnx.eval_shape(lambda: network(settings, vocabulary, classes)))


def reading(settings: mnist.Settings) -> Reading:
    """How an image becomes a sequence."""
    image = settings.image
    return Reading(image.pixels or image.permute is not None, image.permute)


def set_features(model: Any, ids: np.ndarray, values: np.ndarray) -> None:
    """Let the words `ids` begin with these features [k, F], in every member of a network."""
    for member in members(model):
        table = member.embedding.embedding
        table.set_value(table.get_value().at[ids].set(values))


def build(
    model: Model,
    seed: int,
    *,
    features: int,
    vocabulary: int | None = None,
    bigrams: int = 0,
    classes: int = 1,
) -> Classifier | Ensemble:
    """A network of one or more members, freshly drawn; the arguments are those of `Classifier`."""
    rngs = nnx.Rngs(seed)
    networks = [
        Classifier(
            jaxrnn.CELLS.get(model.cell),  # "none" is none
            vocabulary=vocabulary,
            # Every other member: those that read differently also err differently.
            bigrams=0 if n % 2 else bigrams,
            features=features,
            units=model.units,
            layers=model.layers,
            bidirectional=model.bidirectional,
            readout=model.readout,
            dropout=model.dropout,
            word_dropout=model.word_dropout,
            hidden=model.hidden,
            classes=classes,
            rngs=rngs,
        )
        for n in range(model.members)
    ]
    return networks[0] if len(networks) == 1 else Ensemble(networks)
