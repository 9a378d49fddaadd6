"""Describes a model as a table of layers, for the card at the start of a run."""

from typing import Any, NamedTuple

import jax
from flax import nnx

import jaxrnn
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble, members


class Layer(NamedTuple):
    """A row of the table."""

    name: str
    output: str
    parameters: int


def engine(cell: str) -> str:
    """The name of what runs the recurrence of float32 weights here; of no cell, none."""
    known = jaxrnn.CELLS.get(cell)
    return "none" if known is None else jaxrnn.engines.choose(known, "float32").name


def count(tree: Any) -> int:
    """Parameters in a module or a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(tree, nnx.Param)))


def summary(model: Classifier | Ensemble, inputs: tuple[int, ...]) -> list[Layer]:
    """The model as a table, for inputs of this shape without the batch axis."""
    if isinstance(model, Ensemble):
        rows = [row for member in members(model) for row in summary(member, inputs)]
        return [*rows, Layer(f"Mean logit of {len(model.members)}", rows[-1].output, 0)]
    steps, recurrent = inputs[0], model.recurrent
    names = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
    kind = "" if recurrent is None else names[recurrent.cell.name]
    rows = []
    if model.embedding is not None:
        rows.append(
            Layer("Embedding", f"(B, {steps}, {model.embedding.features})", count(model.embedding))
        )
    if model.bigrams is not None:
        rows.append(Layer("Word pairs, added", rows[-1].output, count(model.bigrams)))
    for layer in () if recurrent is None else recurrent.weights.get_value():
        units = layer[0].wh.shape[0]
        name = f"{kind}({units})"
        rows.append(
            Layer(
                f"Bidirectional {name}" if len(layer) == 2 else name,
                f"(B, {steps}, {units * len(layer)})",
                sum(leaf.size for leaf in jax.tree.leaves(layer)),
            )
        )
    dense = [layer for layer in (model.hidden, model.dense) if layer is not None]
    rows.append(Layer(f"Readout: {model.readout} over time", f"(B, {dense[0].in_features})", 0))
    for linear in dense:
        name = "Dense, ReLU" if linear is model.hidden else "Dense"
        rows.append(Layer(name, f"(B, {linear.out_features})", count(linear)))
    return rows
