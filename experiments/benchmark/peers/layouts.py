"""Converts our weights to each library's layout and its gradients to ours: `jaxrnn.convert`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import CELLS, Params, convert


def weights_for(layout: str, cell: str, params: Params) -> dict[str, np.ndarray]:
    """The same weights as flat arrays by the library's own names.

    `layout` is "jaxrnn", "flax", "keras" or "torch".
    """
    kind, params = CELLS[cell], jax.tree.map(jnp.asarray, params)
    if layout == "torch":
        return convert.to_torch(kind, ((params,),))
    if layout == "keras":
        return {str(k): array for k, array in enumerate(convert.to_keras(kind, ((params,),))[0])}
    if layout == "flax":
        tree = convert.to_nnx(kind, params, optimized=cell == "lstm")
        return {f"{layer}/{part}": a for layer, parts in tree.items() for part, a in parts.items()}
    return {name: np.asarray(a) for name, a in params._asdict().items() if a is not None}


def gradient_from(layout: str, cell: str, named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A gradient with respect to a library's weights as `dwx`, `dwh`, `dbx` and `dbh`.

    Where PyTorch has two biases and we one, each has the whole gradient: only one is taken. Flax's
    GRU has one for two of the gates, and none at the third's recurrent product: no `dbh`.
    """
    kind = CELLS[cell]
    if layout == "torch":
        left = {
            k: a for k, a in named.items() if kind.recurrent_bias or not k.startswith("bias_hh")
        }
        params = convert.from_torch(kind, left)[0][0]
    elif layout == "keras":
        params = convert.from_keras(kind, [[named[str(k)] for k in range(len(named))]])[0][0]
    elif layout == "flax":
        tree: dict[str, Any] = {}
        for name, array in named.items():
            layer, part = name.split("/")
            tree.setdefault(layer, {})[part] = array
        params = convert.from_nnx(kind, tree)._replace(bh=None)
    else:
        return {f"d{name}": np.asarray(a) for name, a in named.items()}
    return {f"d{name}": np.asarray(a) for name, a in params._asdict().items() if a is not None}
