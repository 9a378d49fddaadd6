"""A recurrent layer of any JAX library under `jax.jit`: outputs, and their vector-Jacobian product.

Residuals, fresh outputs and dispatch are paid for in every call, as a user pays for them.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def prepare(threads: int) -> bool:
    """XLA sizes its pool by the cores that this process may use, and flushes denormals by itself.

    Asked of it here, because it has no switch that could be read.
    """
    if os.environ.get("JAX_ENABLE_X64") == "1":
        return False
    product = jax.jit(lambda a: a * jnp.float32(1e-20))(jnp.full(64, 1e-20, jnp.float32))
    return not np.any(np.asarray(product))


def calls(
    layer: Callable[[Any, jax.Array], jax.Array], weights: Any, arrays: Mapping[str, np.ndarray],
    named: Callable[[Any], dict[str, Any]] = dict,
) -> dict[str, Callable[[], dict[str, Any]]]:  # fmt: skip
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
