"""Runs Flax: `nnx.RNN` around a cell; for LSTM the `OptimizedLSTMCell`, the faster of its two.

Module and weights are taken apart once, so that only the mathematics is timed.
"""

from typing import Any

import jax
from flax import nnx

from experiments.benchmark.peers import Arrays, Calls, Problem, jitted

prepare = jitted.prepare
CELLS = {"rnn": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """Weights are named "layer/kernel" and "layer/bias"."""
    _, _, features, units = problem["sizes"]
    kind: Any = CELLS[problem["cell"]]
    cell = kind(features, units, rngs=nnx.Rngs(0))
    split: Any = nnx.split  # its types do not know three parts
    graph, state, rest = split(nnx.RNN(cell), nnx.Param, ...)
    leaves, tree = jax.tree_util.tree_flatten_with_path(state)
    names = [_name(path) for path, _ in leaves]

    def layer(weights: list[jax.Array], xs: jax.Array) -> jax.Array:
        # Its cells count random numbers even where they draw none, and only in their own trace.
        counters = jax.tree.map(lambda a: a, rest)
        return nnx.merge(graph, jax.tree.unflatten(tree, weights), counters)(xs)

    weights = [arrays[f"w:{name}"] for name in names]
    for (_, leaf), array in zip(leaves, weights, strict=True):
        if leaf.shape != array.shape:
            raise ValueError(f"Flax has a weight of shape {leaf.shape}; it was given {array.shape}")
    return jitted.calls(layer, weights, arrays, lambda d: dict(zip(names, d, strict=True)))


def _name(path: tuple[Any, ...]) -> str:
    keys = [str(getattr(key, "key", "")) for key in path]
    return "/".join(key for key in keys if key not in ("cell", "value", ""))
