"""The GRU as it was first published: the reset gate stands before the recurrent product.

Keras (`reset_after=False`) and Haiku have it. `jaxrnn.GRU` applies the gate behind the product,
as cuDNN and PyTorch do, because only then is one product enough; the two cannot share weights.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn.cells import Cell, Params, State, product


def _recurrent(gx: Array, h: Array, params: Params) -> Array:
    """Two products, as the second needs the reset gate that the first one gives."""
    units = h.shape[-1]
    rz = product(h, params.wh[:, : 2 * units], None)
    r = jax.nn.sigmoid(gx[..., :units] + rz[..., :units])
    n = product(r * h, params.wh[:, 2 * units : 3 * units], None)
    return jnp.concatenate([rz, n], axis=-1)


def _update(gx: Array, gh: Array, state: State) -> State:
    """Gates r, z, n with the reset gate before the product (Cho et al., 2014).

    r, z = sigmoid(gx + h @ wh);  n = tanh(gx_n + (r * h) @ wh_n)
    h' = (1 - z) * n + z * h
    """
    _, gx_z, gx_n = jnp.split(gx, 3, axis=-1)
    _, gh_z, gh_n = jnp.split(gh, 3, axis=-1)
    z = jax.nn.sigmoid(gx_z + gh_z)
    return State((1 - z) * jnp.tanh(gx_n + gh_n) + z * state.h)


ResetBeforeGRU = Cell(
    "gru_reset_before", gates=3, state=State, update=_update, recurrent=_recurrent
)
