"""Classifies sequences: embed -> recurrent layers -> read out over time -> dense to logits.

The modules are Flax NNX; the recurrent computation is `jaxrnn`'s. Whether dropout acts is decided
by the call: with a key it does, without one it does not.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

import jaxrnn
from experiments.models.bigrams import Bigrams
from jaxrnn import parallel

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
        self.engine: Any = None  # the library's choice
        self.weights = nnx.Param(
            jaxrnn.init_stack(rngs.params(), cell, input_size, units, layers, bidirectional)
        )

    def __call__(
        self,
        xs: jax.Array,
        lengths: jax.Array,
        key: jax.Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Run over the valid steps; outputs past a sequence's length are zero."""
        states, hs = jaxrnn.unroll_stack(
            self.cell,
            self.weights.get_value(),
            xs,
            lengths=lengths,
            dropout=0.0 if key is None else self.dropout,
            key=key,
            axis_name=axis_name,
            engine=self.engine,
        )
        return jnp.concatenate([state.h for state in states[-1]], axis=-1), hs


class Classifier(nnx.Module):
    """Sequences to logits [B, classes]; one logit for two classes.

    With a vocabulary the inputs are ids [B, T], without one features [B, T, features]. Without a
    cell the features themselves are read out: a bag of words. `bigrams` is the rows of a table of
    word pairs, whose features are added to the words'. With `hidden` a dense layer of that width
    and ReLU stands between readout and logits.
    """

    def __init__(
        self,
        cell: jaxrnn.Cell | None,
        *,
        vocabulary: int | None = None,
        bigrams: int = 0,
        features: int,
        units: int,
        layers: int = 1,
        bidirectional: bool = False,
        readout: Readout = "mean",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        hidden: int = 0,
        classes: int = 1,
        rngs: nnx.Rngs,
    ):
        self.readout, self.dropout, self.word_dropout = readout, dropout, word_dropout
        self.embedding = None if vocabulary is None else nnx.Embed(vocabulary, features, rngs=rngs)
        stack: dict[str, Any] = {
            "layers": layers,
            "bidirectional": bidirectional,
            "dropout": dropout,
        }
        self.recurrent = (
            None if cell is None else Recurrent(cell, features, units, **stack, rngs=rngs)
        )
        width = features if cell is None else units * (2 if bidirectional else 1)
        width *= 2 if readout == "mean-max" else 1
        self.hidden = nnx.Linear(width, hidden, rngs=rngs) if hidden else None
        self.dense = nnx.Linear(hidden or width, classes, rngs=rngs)
        # Last, so that the other weights are those of the network without pairs.
        self.bigrams = Bigrams(bigrams, features, rngs=rngs) if bigrams else None

    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array,
        key: jax.Array | None = None,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Logits [B, classes]; a key switches dropout on.

        `axis_name` is for `pmap` and `shard_map`: the axis that the batch is split over, whose
        dropout masks are then those of the whole batch.
        """
        drop = functools.partial(_dropout, axis_name=axis_name)
        words, features, between, readout = (
            (None,) * 4 if key is None else tuple(jax.random.split(key, 4))
        )
        xs = inputs if self.embedding is None else self.embed(inputs, words, axis_name)
        if self.embedding is not None:
            # The same features of every word of a text, or the network reads them off a neighbour.
            xs = drop(features, self.dropout, xs, (xs.shape[0], 1, xs.shape[2]))
        if self.recurrent is None:
            last, hs = _as_outputs(xs, lengths)
        else:
            last, hs = self.recurrent(xs, lengths, between, axis_name)
        pooled = read_out(self.readout, last, hs, lengths)
        if self.hidden is not None:
            pooled = jax.nn.relu(self.hidden(pooled))
        return self.dense(drop(readout, self.dropout, pooled, pooled.shape))

    def embed(
        self, ids: jax.Array, key: jax.Array | None = None, axis_name: str | None = None
    ) -> jax.Array:
        """Features [B, T, F] of words, with those of pairs of words where there is a table of them.

        A key drops words, and pairs by themselves: of most pairs one look is enough to know an
        example again.
        """
        assert self.embedding is not None
        drop = functools.partial(_dropout, mask=(*ids.shape, 1), axis_name=axis_name)
        xs = drop(key, self.word_dropout, self.embedding(ids))
        if self.bigrams is None:
            return xs
        pairs = None if key is None else jax.random.fold_in(key, 1)
        return xs + drop(pairs, self.dropout, self.bigrams(ids))


def read_out(how: Readout, last: jax.Array, hs: jax.Array, lengths: jax.Array) -> jax.Array:
    """One vector for each sequence, over its valid steps only; zeros for an empty one.

    Args:
        how: `mean-max` gives [B, 2 F], the others [B, F].
        last: the last valid states [B, F].
        hs: outputs [B, T, F], zero past the lengths.
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


def _as_outputs(xs: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features [B, T, F] as a recurrent layer would give them: the last valid ones, and all."""
    valid = jnp.arange(xs.shape[1]) < lengths[:, None]
    hs = jnp.where(valid[..., None], xs, 0)
    last = jnp.maximum(lengths - 1, 0)[:, None, None]
    return jnp.take_along_axis(hs, last, axis=1)[:, 0], hs


def _dropout(
    key: jax.Array | None,
    rate: float,
    xs: jax.Array,
    mask: tuple[int, ...],
    axis_name: str | None = None,
) -> jax.Array:
    """Drop a share of `xs` and scale the rest up; one draw for each element of shape `mask`."""
    if key is None or rate == 0:
        return xs
    return jnp.where(parallel.bernoulli(key, 1 - rate, mask, axis_name), xs / (1 - rate), 0)
