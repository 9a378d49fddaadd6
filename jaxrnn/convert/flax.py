"""Converts the weights of the cells of `flax.linen` and `flax.nnx`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._cells import Cell, Params, check_params
from jaxrnn.convert._layout import array, row

Names = Sequence[tuple[str, str]]  # for each block of gates its input and its recurrent layer

LINEN: dict[str, Names] = {
    "rnn": [("i", "h")],
    "relu_rnn": [("i", "h")],
    "lstm": [("ii", "hi"), ("if", "hf"), ("ig", "hg"), ("io", "ho")],
    "gru": [("ir", "hr"), ("iz", "hz"), ("in", "hn")],
}
FUSED: Names = [("dense_i", "dense_h")]
NNX: dict[str, Names] = {
    "rnn": FUSED,
    "relu_rnn": FUSED,
    "lstm": [("ii", "hi"), ("if_", "hf"), ("ig", "hg"), ("io", "ho")],
    "gru": FUSED,
}


def from_linen(cell: Cell, variables: Mapping[str, Any]) -> Params:
    """Load the weights of a Linen `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell` or `GRUCell`.

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`; `ReLURNN` for `SimpleCell(activation_fn=nn.relu)`, which
            weights do not show.
        variables: that cell's variables, `{"params": {...}}` or what is in it. Under `nn.RNN` they
            are `variables["params"]["cell"]`.

    Returns:
        `Params`. A bias that Flax keeps at the recurrent product is added to `bx`, except for GRU,
        which has a place for it.

    Raises:
        ValueError: names or shapes that are not this cell's.
    """
    return jax.tree.map(array, linen_params(cell, variables.get("params", variables)))


def linen_params(cell: Cell, tree: Mapping[str, Any]) -> Params:
    """The same from the parameters alone, and without a copy of those that are one array."""
    return _params(cell, row(LINEN, cell, "Flax Linen"), tree)


def to_linen(cell: Cell, params: Params) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Make the variables of a Linen cell, NumPy arrays; the inverse of `from_linen`.

    Linen's GRU has one bias for r and z each, which becomes the sum of our two.

    Raises:
        ValueError: a cell that Flax does not have, weights that are not this cell's.
    """
    tree = _tree(cell, row(LINEN, cell, "Flax Linen"), jax.tree.map(np.asarray, params))
    return {"params": jax.tree.map(np.array, tree)}


def from_nnx(cell: Cell, state: Mapping[str, Any]) -> Params:
    """Load the weights of an NNX `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell` or `GRUCell`.

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`; `ReLURNN` for `SimpleCell(activation_fn=nnx.relu)`,
            which weights do not show.
        state: `nnx.state(module)`, or the nested dict of arrays that `nnx.to_pure_dict` makes of
            it. Under `nnx.RNN` it is `nnx.state(rnn.cell)`.

    Returns:
        `Params`; biases as in `from_linen`.

    Raises:
        ValueError: names or shapes that are not this cell's.
    """
    return jax.tree.map(array, nnx_params(cell, state))


def nnx_params(cell: Cell, state: Mapping[str, Any]) -> Params:
    """The same without a copy of those that are one array."""
    names = row(NNX, cell, "Flax NNX")
    params = _params(cell, FUSED if "dense_i" in state else names, state)
    bias = state.get("candidate_bias")
    if bias is None or params.bh is None:
        return params
    rest = jnp.zeros_like(params.bh[: -bias.shape[0]])
    return params._replace(bh=jnp.concatenate([rest, jnp.asarray(bias[...])]))


def to_nnx(cell: Cell, params: Params, optimized: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """Make the state of an NNX cell, a nested dict of NumPy arrays, for `nnx.update(module, ...)`.

    The inverse of `from_nnx`.

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`.
        params: that cell's weights.
        optimized: for an `OptimizedLSTMCell`, whose layout is not that of `LSTMCell`.

    Raises:
        ValueError: a GRU with a recurrent bias of the candidate, for which NNX has no place; a
            cell that Flax does not have; weights that are not this cell's.
    """
    tree, lost = nnx_tree(cell, jax.tree.map(np.asarray, params), optimized)
    if np.any(lost):
        raise ValueError(
            f"bh of the candidate gate is up to {np.abs(lost).max():.3g}; nnx.GRUCell has no bias "
            "there and cannot represent these weights (linen.GRUCell can, and so can "
            "jaxrnn.flax.nnx.GRUCell with candidate_bias=True)"
        )
    return jax.tree.map(np.array, tree)


def nnx_tree(cell: Cell, params: Params, optimized: bool) -> tuple[dict[str, dict[str, Any]], Any]:
    """The layers of an NNX cell, and a GRU's recurrent candidate bias, which they cannot hold.

    Arrays stay what they are, NumPy's or JAX's.
    """
    names = FUSED if optimized else row(NNX, cell, "Flax NNX")
    if cell.name != "gru":
        return _tree(cell, names, params), 0
    tree = _tree(cell, LINEN["gru"], params)
    lost = tree["hn"].pop("bias")
    join = np.concatenate if isinstance(lost, np.ndarray) else jnp.concatenate
    inputs, recurrent = [[tree[name] for name in side] for side in zip(*LINEN["gru"], strict=True)]
    return {
        "dense_i": {k: join([layer[k] for layer in inputs], -1) for k in ("kernel", "bias")},
        "dense_h": {"kernel": join([layer["kernel"] for layer in recurrent], -1)},
    }, lost


def _params(cell: Cell, names: Names, tree: Mapping[str, Any]) -> Params:
    inputs = [_dense(cell, tree, name) for name, _ in names]
    recurrent = [_dense(cell, tree, name) for _, name in names]
    wx, bx, wh, bh = [
        jnp.concatenate([pair[part] for pair in pairs], axis=-1)
        for pairs in (inputs, recurrent)
        for part in (0, 1)
    ]
    params = Params(wx, wh, bx, bh) if cell.recurrent_bias else Params(wx, wh, bx + bh)
    check_params(cell, params)
    return params


def _dense(cell: Cell, tree: Mapping[str, Any], name: str) -> tuple[jax.Array, jax.Array]:
    """A kernel and its bias, zeros where it has none. `[...]` reads an nnx variable too."""
    if name not in tree or "kernel" not in tree[name]:
        raise ValueError(f"no {name}/kernel among {sorted(map(str, tree))}: not a {cell.name} cell")
    layer = tree[name]
    kernel = jnp.asarray(layer["kernel"][...])
    bias = layer["bias"][...] if "bias" in layer else jnp.zeros(kernel.shape[-1], kernel.dtype)
    return kernel, jnp.asarray(bias)


def _tree(cell: Cell, names: Names, params: Params) -> dict[str, dict[str, Any]]:
    """The layers by name, with their biases where Flax has them."""
    check_params(cell, params)
    columns = params.wx.shape[1] // len(names)

    def blocks(a: Any) -> list[Any]:
        return [a[..., k * columns : (k + 1) * columns] for k in range(len(names))]

    wx, wh, bx = blocks(params.wx), blocks(params.wh), blocks(params.bx)
    tree: dict[str, dict[str, Any]] = {}
    for k, (inputs, recurrent) in enumerate(names):
        tree[inputs], tree[recurrent] = {"kernel": wx[k]}, {"kernel": wh[k]}
        tree[recurrent if cell.name == "lstm" else inputs]["bias"] = bx[k]
    if params.bh is not None:
        r, z, n = blocks(params.bh)
        tree["ir"]["bias"], tree["iz"]["bias"] = bx[0] + r, bx[1] + z
        tree["hn"]["bias"] = n
    return tree
