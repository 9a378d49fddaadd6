"""Converts the weights of `hk.GRU`, the GRU with the reset gate before the product."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._cells import Cell, Params, check_params
from jaxrnn.convert._layout import array, inverse, reordered, row

# Haiku's gates are z, r, n, and its z is our 1 - z: sigmoid(-a) = 1 - sigmoid(a), so the sign of
# everything that reaches z changes.
HAIKU = {"gru_reset_before": (1, 0, 2)}


def from_haiku(cell: Cell, params: Mapping[str, Any]) -> Params:
    """Load the weights of a `hk.GRU`.

    Args:
        cell: `ResetBeforeGRU`. (Haiku's LSTM adds 1 to its forget gate at every step and its
            VanillaRNN is a relu: they are other cells.)
        params: that module's own parameters, `{"w_i": [D, 3*H], "w_h": [H, 3*H], "b": [3*H]}`.

    Returns:
        `Params`.

    Raises:
        ValueError: another cell, missing or misshapen arrays.
    """
    order = row(HAIKU, cell, "Haiku")
    missing = {"w_i", "w_h", "b"} - set(params)
    if missing:
        raise ValueError(f"no {', '.join(sorted(missing))} among {sorted(params)}: not a hk.GRU")
    wx, wh, bx = [_negated_z(reordered(array(params[n]), order)) for n in ("w_i", "w_h", "b")]
    converted = Params(wx, wh, bx)
    check_params(cell, converted)
    return converted


def to_haiku(cell: Cell, params: Params) -> dict[str, np.ndarray]:
    """Make the parameters of a `hk.GRU`, NumPy arrays by name; the inverse of `from_haiku`.

    Raises:
        ValueError: another cell, weights that are not this cell's.
    """
    order = inverse(row(HAIKU, cell, "Haiku"))
    check_params(cell, params)
    arrays = {"w_i": params.wx, "w_h": params.wh, "b": params.bx}
    return {name: np.asarray(reordered(_negated_z(a), order)) for name, a in arrays.items()}


def _negated_z(weights: Any) -> Any:
    r, z, n = jnp.split(weights, 3, axis=-1)
    return jnp.concatenate([r, -z, n], axis=-1)
