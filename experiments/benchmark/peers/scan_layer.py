"""Runs the cells as one writes them by hand with `jax.lax.scan`, in three dozen lines.

Written from the equations, apart from `jaxrnn`, so that it can also be what all results are
compared with: with JAX_ENABLE_X64=1 it computes in float64.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import peers
from experiments.benchmark.peers import Arrays, Calls, Problem, jitted

prepare = jitted.prepare
Weights = dict[str, jax.Array]


def simple_rnn(w: Weights, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Elman's cell."""
    h = jnp.tanh(x @ w["wx"] + h @ w["wh"] + w["bx"])
    return h, h


def lstm(w: Weights, state: tuple[jax.Array, jax.Array], x: jax.Array) -> tuple[Any, jax.Array]:
    """Gates i, f, g, o."""
    h, c = state
    i, f, g, o = jnp.split(x @ w["wx"] + h @ w["wh"] + w["bx"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(w: Weights, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gates r, z, n; the reset gate after the product."""
    xr, xz, xn = jnp.split(x @ w["wx"] + w["bx"], 3, axis=-1)
    hr, hz, hn = jnp.split(h @ w["wh"] + w["bh"], 3, axis=-1)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    h = (1 - z) * jnp.tanh(xn + r * hn) + z * h
    return h, h


CELLS = {"rnn": simple_rnn, "lstm": lstm, "gru": gru}


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """The weights have our layout; there is nothing to choose."""
    if os.environ.get("JAX_ENABLE_X64") == "1":
        arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    step: Any = CELLS[problem["cell"]]
    weights = peers.weights(arrays)

    def layer(w: Weights, xs: jax.Array) -> jax.Array:
        zeros = jnp.zeros((xs.shape[0], w["wh"].shape[0]), xs.dtype)
        state = (zeros, zeros) if problem["cell"] == "lstm" else zeros
        _, hs = jax.lax.scan(lambda s, x: step(w, s, x), state, jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(hs, 0, 1)

    return jitted.calls(layer, weights, arrays)
