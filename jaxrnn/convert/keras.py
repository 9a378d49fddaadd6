"""Converts the weights of Keras's `SimpleRNN`, `LSTM` and `GRU`, each alone or `Bidirectional`."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._cells import Cell, Params, check_params
from jaxrnn._stack import StackParams
from jaxrnn.convert._layout import Order, array, inverse, reordered, row

# Where Keras keeps our gates: LSTM i, f, g, o as here; GRU z, r, n instead of r, z, n.
KERAS: dict[str, Order] = {
    "rnn": (0,),
    "lstm": (0, 1, 2, 3),
    "gru": (1, 0, 2),
    "gru_reset_before": (1, 0, 2),
}


def from_keras(cell: Cell, layers: Sequence[Any]) -> StackParams:
    """Load the weights of Keras layers, one on top of the other.

    Args:
        cell: `SimpleRNN`, `LSTM`, `GRU`, or for `keras.layers.GRU(reset_after=False)`
            `ResetBeforeGRU`. Without a bias the two kinds of GRU look the same: you choose.
        layers: `layer.get_weights()` of each layer, from the input up: kernel [D, G*H],
            recurrent kernel [H, G*H], bias [G*H] (a GRU's [2, 3*H]). A `Bidirectional` layer
            has these twice. Missing biases become zeros.

    Returns:
        `params[layer][direction]`, as `unroll_stack` wants them.

    Raises:
        ValueError: arrays that are not those of such a layer.

    >>> import jaxrnn
    >>> lstm = [np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)]   # keras.layers.LSTM(2) on 3 inputs
    >>> stack = from_keras(jaxrnn.LSTM, [lstm])
    >>> stack[0][0].wx.shape
    (3, 8)
    """
    order = row(KERAS, cell, "Keras")
    return tuple(_layer(cell, order, number, weights) for number, weights in enumerate(layers))


def to_keras(cell: Cell, params: StackParams) -> list[list[np.ndarray]]:
    """Make what `layer.set_weights` of each Keras layer takes; the inverse of `from_keras`.

    Args:
        cell: as for `from_keras`.
        params: `params[layer][direction]`. A layer with two directions is a `Bidirectional` one.

    Returns:
        For each layer a list of NumPy arrays.

    Raises:
        ValueError: a cell that Keras does not have, weights that are not this cell's.
    """
    order = inverse(row(KERAS, cell, "Keras"))
    return [[array for p in layer for array in _arrays(cell, order, p)] for layer in params]


def _layer(cell: Cell, order: Order, number: int, weights: Any) -> tuple[Params, ...]:
    directions = {2: 1, 3: 1, 4: 2, 6: 2}.get(len(weights))
    if directions is None or hasattr(weights, "ndim"):
        raise ValueError(
            f"layer {number} holds {len(weights)} arrays; a Keras layer has 2 or 3 (kernel, "
            "recurrent kernel, bias), a Bidirectional one 4 or 6. Give a list of layers: "
            "[layer.get_weights()]"
        )
    each = len(weights) // directions
    return tuple(_params(cell, order, weights[d * each :][:each]) for d in range(directions))


def _params(cell: Cell, order: Order, weights: Sequence[Any]) -> Params:
    wx, wh, *biases = [reordered(array(w), order) for w in weights]
    rows = 2 if cell.recurrent_bias else 1
    bias = biases[0] if biases else jnp.zeros(wx.shape[-1], wx.dtype)
    if biases and bias.ndim != rows:
        kind = "reset_after=False" if rows == 2 else "reset_after=True"
        other = "ResetBeforeGRU" if rows == 2 else "GRU"
        raise ValueError(
            f"bias has shape {bias.shape}, that of a GRU with {kind}; load it as jaxrnn.{other}"
        )
    if rows == 2:
        bx, bh = bias if biases else (bias, bias)
        params = Params(wx, wh, bx, bh)
    else:
        params = Params(wx, wh, bias)
    check_params(cell, params)
    return params


def _arrays(cell: Cell, order: Order, params: Params) -> list[np.ndarray]:
    check_params(cell, params)
    bias = params.bx if params.bh is None else jnp.stack([params.bx, params.bh])
    return [np.asarray(reordered(a, order)) for a in (params.wx, params.wh, bias)]
