"""Converts the weights of `hk.LSTM`, and of `hk.GRU`, whose reset gate comes before the product."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._checks import check_params
from jaxrnn._types import Cell, Params
from jaxrnn.convert._layout import array, inverse, reordered, row

# Its LSTM's gates are i, g, f, o. Its GRU's are z, r, n, and its z is our 1 - z:
# sigmoid(-a) = 1 - sigmoid(a), so the sign of everything that reaches z changes.
HAIKU = {"lstm": (0, 2, 1, 3), "gru_reset_before": (1, 0, 2)}
NAMES = {"lstm": ("w", "b"), "gru_reset_before": ("w_i", "w_h", "b")}
MODULES = {"lstm": 'the linear layer of an hk.LSTM: params["lstm/linear"]',
           "gru_reset_before": 'an hk.GRU: params["gru"]'}  # fmt: skip


def from_haiku(cell: Cell, params: Mapping[str, Any]) -> Params:
    """Load the weights of an `hk.LSTM` or `hk.GRU`.

    An `hk.LSTM` adds 1 to its forget gate at every step; here the 1 is in the bias.

    Args:
        cell: `LSTM` or `ResetBeforeGRU`.
        params: that module's own parameters: of an `hk.LSTM`, where they are
            `params["lstm/linear"]`, `{"w": [D + H, 4*H], "b": [4*H]}`; of an `hk.GRU`
            `{"w_i": [D, 3*H], "w_h": [H, 3*H], "b": [3*H]}`.

    Returns:
        `Params`, every array a copy.

    Raises:
        ValueError: another cell, missing or misshapen arrays.
    """
    order = row(HAIKU, cell, "Haiku")
    missing = set(NAMES[cell.name]) - set(params)
    if missing:
        raise ValueError(
            f"no {', '.join(sorted(missing))} among {sorted(params)}; give the parameters of "
            f"{MODULES[cell.name]}"
        )
    arrays = [reordered(array(params[name]), order) for name in NAMES[cell.name]]
    if cell.name == "lstm":
        w, b = arrays
        inputs = len(w) - w.shape[-1] // 4
        converted = Params(jnp.array(w[:inputs]), jnp.array(w[inputs:]), _with_forget_bias(b, 1.0))
    else:
        converted = Params(*map(_negated_z, arrays))
    check_params(cell, converted)
    return converted


def to_haiku(cell: Cell, params: Params) -> dict[str, np.ndarray]:
    """Make the parameters of an `hk.LSTM`'s linear layer or an `hk.GRU`, NumPy arrays by name.

    The inverse of `from_haiku`.

    Raises:
        ValueError: another cell, weights that are not this cell's.
    """
    order = inverse(row(HAIKU, cell, "Haiku"))
    check_params(cell, params)
    if cell.name == "lstm":
        arrays = [jnp.concatenate([params.wx, params.wh]), _with_forget_bias(params.bx, -1.0)]
    else:
        arrays = [_negated_z(a) for a in (params.wx, params.wh, params.bx)]
    named = zip(NAMES[cell.name], arrays, strict=True)
    return {name: np.array(reordered(a, order)) for name, a in named}


def _with_forget_bias(b: jax.Array, value: float) -> jax.Array:
    units = b.shape[-1] // 4
    return jnp.asarray(b).at[units : 2 * units].add(value)


def _negated_z(weights: Any) -> Any:
    r, z, n = jnp.split(weights, 3, axis=-1)
    return jnp.concatenate([r, -z, n], axis=-1)
