"""Sequence classifiers: embed -> recurrent layers -> read out over time -> dense to logits.

The modules are Flax NNX; the recurrent computation is `jaxrnn`'s. Whether dropout acts is decided
by the call: with a key it does, without one it does not.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

import jaxrnn

Readout = Literal["last", "mean", "max", "mean-max"]


class Recurrent(nnx.Module):
    """A stack of recurrent layers: features [B, T, D] -> (last states [B, F], outputs [B, T, F]).

    F is `units`, or twice that when bidirectional.
    """

    def __init__(
        self,
        cell: jaxrnn.Cell,
        input_size: int,
        units: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.cell, self.dropout = cell, dropout
        self.weights = nnx.Param(
            jaxrnn.init_stack(rngs.params(), cell, input_size, units, layers, bidirectional)
        )

    def __call__(
        self, xs: jax.Array, lengths: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Run over the valid steps; outputs behind a sequence's length are zero."""
        states, hs = jaxrnn.unroll_stack(
            self.cell,
            self.weights.get_value(),
            xs,
            lengths=lengths,
            dropout=0.0 if key is None else self.dropout,
            key=key,
        )
        return jnp.concatenate([state.h for state in states[-1]], axis=-1), hs


class Classifier(nnx.Module):
    """Sequences to logits [B, classes]; one logit for two classes.

    With a vocabulary the inputs are ids [B, T], without one features [B, T, features].
    """

    def __init__(
        self,
        cell: jaxrnn.Cell,
        *,
        vocabulary: int | None = None,
        features: int,
        units: int,
        layers: int = 1,
        bidirectional: bool = False,
        readout: Readout = "mean",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        classes: int = 1,
        rngs: nnx.Rngs,
    ):
        self.readout, self.dropout, self.word_dropout = readout, dropout, word_dropout
        self.embedding = None if vocabulary is None else nnx.Embed(vocabulary, features, rngs=rngs)
        self.recurrent = Recurrent(
            cell,
            features,
            units,
            layers=layers,
            bidirectional=bidirectional,
            dropout=dropout,
            rngs=rngs,
        )
        width = units * (2 if bidirectional else 1) * (2 if readout == "mean-max" else 1)
        self.dense = nnx.Linear(width, classes, rngs=rngs)

    def __call__(
        self, inputs: jax.Array, lengths: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Logits [B, classes]; a key switches dropout on."""
        words, features, between, behind = (
            (None,) * 4 if key is None else tuple(jax.random.split(key, 4))
        )
        xs = inputs if self.embedding is None else self.embedding(inputs)
        if self.embedding is not None:
            batch, steps, width = xs.shape
            xs = _dropout(words, self.word_dropout, xs, (batch, steps, 1))
            # The same features of every word of a text, or the network reads them off a neighbour.
            xs = _dropout(features, self.dropout, xs, (batch, 1, width))
        last, hs = self.recurrent(xs, lengths, between)
        pooled = read_out(self.readout, last, hs, lengths)
        return self.dense(_dropout(behind, self.dropout, pooled, pooled.shape))


def read_out(how: Readout, last: jax.Array, hs: jax.Array, lengths: jax.Array) -> jax.Array:
    """One vector for each sequence, over its valid steps only; zeros for an empty one.

    Args:
        how: `mean-max` gives [B, 2 F], the others [B, F].
        last: the last valid states [B, F].
        hs: outputs [B, T, F], zero behind the lengths.
        lengths: valid steps, int32 [B].
    """
    if how == "last":
        return last
    mean = jnp.sum(hs, axis=1) / jnp.maximum(lengths, 1)[:, None].astype(hs.dtype)
    if how == "mean":
        return mean
    valid = jnp.arange(hs.shape[1]) < lengths[:, None]
    largest = jnp.max(hs, axis=1, where=valid[..., None], initial=-jnp.inf)
    largest = jnp.where(lengths[:, None] > 0, largest, 0)
    return largest if how == "max" else jnp.concatenate([mean, largest], axis=-1)


def _dropout(key: jax.Array | None, rate: float, xs: jax.Array, mask: tuple[int, ...]) -> jax.Array:
    """Drop a share of `xs` and scale the rest up; one draw for each element of shape `mask`."""
    if key is None or rate == 0:
        return xs
    return jnp.where(jax.random.bernoulli(key, 1 - rate, mask), xs / (1 - rate), 0)


def build(
    settings: Mapping[str, Any], *, features: int, vocabulary: int | None, classes: int
) -> Classifier:
    """The classifier that flat settings describe (those of a `config.json`), freshly drawn."""
    return Classifier(
        jaxrnn.CELLS[settings["cell"]],
        vocabulary=vocabulary,
        features=features,
        units=settings["units"],
        layers=settings["layers"],
        bidirectional=settings["bidirectional"],
        readout=settings["readout"],
        dropout=settings["dropout"],
        word_dropout=settings["word_dropout"],
        classes=classes,
        rngs=nnx.Rngs(settings["seed"]),
    )


class Layer(NamedTuple):
    """A row of the summary."""

    name: str
    output: str
    parameters: int


def count(tree: Any) -> int:
    """Parameters in a module or a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(tree, nnx.Param)))


def summary(model: Classifier, inputs: tuple[int, ...]) -> list[Layer]:
    """The model as a table, for inputs of this shape without the batch axis."""
    steps, recurrent = inputs[0], model.recurrent
    names = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
    rows = []
    if model.embedding is not None:
        rows.append(
            Layer("Embedding", f"(B, {steps}, {model.embedding.features})", count(model.embedding))
        )
    for layer in recurrent.weights.get_value():
        units = layer[0].wh.shape[0]
        name = names[recurrent.cell.name] + f"({units})"
        rows.append(
            Layer(
                f"Bidirectional {name}" if len(layer) == 2 else name,
                f"(B, {steps}, {units * len(layer)})",
                sum(leaf.size for leaf in jax.tree.leaves(layer)),
            )
        )
    width, classes = model.dense.in_features, model.dense.out_features
    rows.append(Layer(f"Readout: {model.readout} over time", f"(B, {width})", 0))
    rows.append(Layer("Dense", f"(B, {classes})", count(model.dense)))
    return rows
