"""Runs a recurrent layer of any JAX library under `jax.jit`: outputs, and their pullback.

Residuals, fresh outputs and dispatch are paid for in every call, as a user pays for them.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.peers import Arrays, Calls


def prepare(threads: int) -> bool:
    """XLA sizes its pool by the cores that this process may use, and flushes denormals by itself.

    It has no switch that could be read, so a product is tried.
    """
    if os.environ.get("JAX_ENABLE_X64") == "1":
        return False
    product = jax.jit(lambda a: a * jnp.float32(1e-20))(jnp.full(64, 1e-20, jnp.float32))
    return not np.any(np.asarray(product))


Layer = Callable[[Any, jax.Array], jax.Array]
Named = Callable[[Any], dict[str, Any]]


def calls(layer: Layer, weights: Any, arrays: Arrays, named: Named = dict) -> Calls:
    """`forward` and `both` of `layer(weights, xs) -> hs` [B, T, H].

    Args:
        layer: the library's own function.
        weights: its weights, any tree.
        arrays: `xs` [B, T, D] and `dhs` [B, T, H], the gradient that comes back to the outputs.
        named: the weights' gradients by the names that the weights were given under.
    """
    weights = jax.tree.map(jnp.asarray, weights)
    xs, dhs = jnp.asarray(arrays["xs"]), jnp.asarray(arrays["dhs"])
    forward = jax.jit(layer)

    @jax.jit
    def both(weights: Any, xs: jax.Array, dhs: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        hs, pullback = jax.vjp(layer, weights, xs)
        return hs, *pullback(dhs)

    def run_forward() -> dict[str, Any]:
        return {"hs": jax.block_until_ready(forward(weights, xs))}

    def run_both() -> dict[str, Any]:
        hs, dweights, dxs = jax.block_until_ready(both(weights, xs, dhs))
        return {"hs": hs, "dxs": dxs, **{f"d:{k}": a for k, a in named(dweights).items()}}

    return {"forward": run_forward, "both": run_both}
