"""Runs what shows the machine's own limits in each numerical library: product, copy, tanh.

The limit is the best of them, since no one of them is best at every shape.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmark.peers import Arrays, Calls, Problem

Call = Callable[[], Any]


def prepare(threads: int) -> bool | None:
    """NumPy's threads are set by the environment; it has no switch for denormals."""
    return None


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """One call for each entry of `problem["work"]`: `[name, kind, *sizes]`."""
    make: Any = {"numpy": _numpy, "jax": _jax, "torch": _torch}[option]
    return {name: _empty(make(kind, *sizes)) for name, kind, *sizes in problem["work"]}


def _empty(call: Call) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        call()
        return {}

    return run


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _numpy(kind: str, *sizes: int) -> Call:
    if kind == "product":
        m, k, n = sizes
        a, b, out = _random(m, k), _random(k, n), np.empty((m, n), np.float32)
        return lambda: np.matmul(a, b, out=out)
    a, out = _random(*sizes), np.empty(sizes, np.float32)
    return (lambda: np.copyto(out, a)) if kind == "copy" else (lambda: np.tanh(a, out=out))


def _jax(kind: str, *sizes: int) -> Call:
    import jax
    import jax.numpy as jnp

    if kind == "product":
        m, k, n = sizes
        a, b = jnp.asarray(_random(m, k)), jnp.asarray(_random(k, n))
        product = jax.jit(jnp.matmul)
        return lambda: product(a, b).block_until_ready()
    # Donated, or every call would pay for the pages of a new array. Negation is copying that XLA
    # does not leave out.
    todo = jax.jit(jnp.negative if kind == "copy" else jnp.tanh, donate_argnums=0)
    kept = [jnp.asarray(_random(*sizes))]

    def again() -> None:
        kept[0] = todo(kept[0]).block_until_ready()

    return again


def _torch(kind: str, *sizes: int) -> Call:
    torch = importlib.import_module("torch")
    if kind == "product":
        m, k, n = sizes
        a, b = torch.from_numpy(_random(m, k)), torch.from_numpy(_random(k, n))
        out = torch.empty(m, n)
        return lambda: torch.mm(a, b, out=out)
    a = torch.from_numpy(_random(*sizes))
    out = torch.empty_like(a)
    return (lambda: out.copy_(a)) if kind == "copy" else (lambda: torch.tanh(a, out=out))
