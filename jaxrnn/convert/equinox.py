"""Converts the weights of `equinox.nn.LSTMCell` and `GRUCell`."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._checks import check_params
from jaxrnn._types import Cell, Params
from jaxrnn.convert._layout import array, row

# Its gates stand in our order; its matrices are transposed.
EQUINOX = {"lstm": "eqx.nn.LSTMCell", "gru": "eqx.nn.GRUCell"}


def from_equinox(cell: Cell, module: Any) -> Params:
    """Load the weights of an Equinox `LSTMCell` or `GRUCell`.

    Args:
        cell: `LSTM` or `GRU`.
        module: the cell itself, or a dict of its arrays by name: `weight_ih` [G*H, D], `weight_hh`
            [G*H, H], `bias` [G*H] and, for a GRU, `bias_n` [H]. With `use_bias=False` biases
            become zeros.

    Returns:
        `Params`, every array a copy.

    Raises:
        ValueError: another cell, missing or misshapen arrays.
    """
    kind = row(EQUINOX, cell, "Equinox")
    given: Mapping[str, Any] = module if isinstance(module, Mapping) else vars(module)
    missing = {"weight_ih", "weight_hh"} - set(given)
    if missing:
        raise ValueError(f"no {', '.join(sorted(missing))} among {sorted(given)}; give an {kind}")
    wx, wh = array(given["weight_ih"]).T, array(given["weight_hh"]).T
    bias = given.get("bias")
    bx = jnp.zeros(wx.shape[-1], wx.dtype) if bias is None else array(bias)
    if not cell.recurrent_bias:
        params = Params(wx, wh, bx)
    else:
        units, bias_n = wh.shape[0], given.get("bias_n")
        n = jnp.zeros(units, wx.dtype) if bias_n is None else array(bias_n)
        params = Params(wx, wh, bx, jnp.concatenate([jnp.zeros(2 * units, n.dtype), n]))
    check_params(cell, params)
    return params


def to_equinox(cell: Cell, params: Params) -> dict[str, np.ndarray]:
    """Make the arrays of an Equinox cell with `use_bias=True`, NumPy's by name.

    The inverse of `from_equinox`. A GRU there has one bias for r and z each, which becomes the sum
    of our two. To put them in their place:

        where = lambda cell: [getattr(cell, name) for name in arrays]
        module = eqx.tree_at(where, module, [jnp.asarray(a) for a in arrays.values()])

    Raises:
        ValueError: another cell, weights that are not this cell's.
    """
    row(EQUINOX, cell, "Equinox")
    check_params(cell, params)
    arrays = {"weight_ih": params.wx.T, "weight_hh": params.wh.T, "bias": params.bx}
    if params.bh is not None:
        rz = 2 * params.wh.shape[0]
        arrays["bias"] = jnp.concatenate([params.bx[:rz] + params.bh[:rz], params.bx[rz:]])
        arrays["bias_n"] = params.bh[rz:]
    return {name: np.array(a, order="C") for name, a in arrays.items()}
