"""Computes what the cells are: the product, and each cell's gates and elementwise update.

An update is `(gx, gh, state) -> state` and never sees a weight.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxrnn._types import LSTMState, Params, State, accumulation_dtype


def product(a: ArrayLike, w: Array, bias: Array | None) -> Array:
    """`a @ w (+ bias)`: factors in `w`'s dtype, the sum and the result in its accumulation type."""
    out = jnp.matmul(jnp.asarray(a, w.dtype), w, preferred_element_type=accumulation_dtype(w.dtype))
    return out if bias is None else out + bias.astype(out.dtype)


def simple_rnn_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """h' = tanh(gx + gh)  (Elman, 1990)."""
    return {"h": jnp.tanh(gx + gh)}


def simple_rnn(gx: Array, gh: Array, state: State) -> State:
    """h' = tanh(gx + gh)."""
    return State(**simple_rnn_gates(gx, gh))


def relu_rnn_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """h' = relu(gx + gh)  (Le et al., 2015); at 0 its slope is 0, as that of `jax.nn.relu`."""
    return {"h": jax.nn.relu(gx + gh)}


def relu_rnn(gx: Array, gh: Array, state: State) -> State:
    """h' = relu(gx + gh)."""
    return State(**relu_rnn_gates(gx, gh))


def lstm_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """i, f, o = sigmoid(gx + gh);  g = tanh(gx + gh)."""
    i, f, g, o = jnp.split(gx + gh, 4, axis=-1)
    sigmoid = jax.nn.sigmoid
    # One sigmoid over the whole block before it is split computes g's columns for nothing: on two
    # AVX-512 cores (jax 0.10.2) a scan of it takes up to 1.25 times as long.
    return {"i": sigmoid(i), "f": sigmoid(f), "g": jnp.tanh(g), "o": sigmoid(o)}


def lstm(gx: Array, gh: Array, state: LSTMState) -> LSTMState:
    """c' = f * c + i * g;  h' = o * tanh(c').

    Hochreiter and Schmidhuber (1997); the forget gate is that of Gers et al. (2000).
    """
    i, f, g, o = lstm_gates(gx, gh).values()
    c = f * state.c + i * g
    return LSTMState(h=o * jnp.tanh(c), c=c)


def gru_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """r, z = sigmoid(gx + gh);  n = tanh(gx_n + r * gh_n)."""
    gx_r, gx_z, gx_n = jnp.split(gx, 3, axis=-1)
    gh_r, gh_z, gh_n = jnp.split(gh, 3, axis=-1)
    r, z = jax.nn.sigmoid(gx_r + gh_r), jax.nn.sigmoid(gx_z + gh_z)
    return {"r": r, "z": z, "n": jnp.tanh(gx_n + r * gh_n)}


def gru(gx: Array, gh: Array, state: State) -> State:
    """h' = (1 - z) * n + z * h, with the reset gate after the product, as in cuDNN.

    After Cho et al. (2014).
    """
    _, z, n = gru_gates(gx, gh).values()
    return State((1 - z) * n + z * state.h)


def _reset_gate(gx: Array, gh: Array, units: int) -> Array:
    return jax.nn.sigmoid(gx[..., :units] + gh[..., :units])


def reset_before_products(gx: Array, h: Array, params: Params) -> Array:
    """Two products, as the second needs the reset gate that the first one gives."""
    units = h.shape[-1]
    rz = product(h, params.wh[:, : 2 * units], None)
    r = _reset_gate(gx, rz, units)
    n = product(r * h, params.wh[:, 2 * units : 3 * units], None)
    return jnp.concatenate([rz, n], axis=-1)


def _reset_before_z_n(gx: Array, gh: Array) -> dict[str, Array]:
    """z = sigmoid(gx + h @ wh);  n = tanh(gx_n + (r * h) @ wh_n)."""
    _, gx_z, gx_n = jnp.split(gx, 3, axis=-1)
    _, gh_z, gh_n = jnp.split(gh, 3, axis=-1)
    return {"z": jax.nn.sigmoid(gx_z + gh_z), "n": jnp.tanh(gx_n + gh_n)}


def reset_before_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """r, z and n of `ResetBeforeGRU`."""
    return {"r": _reset_gate(gx, gh, gx.shape[-1] // 3), **_reset_before_z_n(gx, gh)}


def reset_before_gru(gx: Array, gh: Array, state: State) -> State:
    """h' = (1 - z) * n + z * h, with the reset gate before the product (Cho et al., 2014)."""
    z, n = _reset_before_z_n(gx, gh).values()
    return State((1 - z) * n + z * state.h)
