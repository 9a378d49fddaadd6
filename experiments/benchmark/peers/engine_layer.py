"""Ours: `jaxrnn.unroll` with one of `jaxrnn.engines`; `default` leaves the choice to it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxrnn
from experiments.benchmark.peers import jitted

prepare = jitted.prepare


def build(
    option: str, problem: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, Callable[[], dict[str, Any]]]:
    """The engine named `option`; weights are `Params`."""
    cell = jaxrnn.CELLS[problem["cell"]]
    engine = None if option == "default" else getattr(jaxrnn.engines, option)
    params = jaxrnn.Params(**{k[2:]: a for k, a in arrays.items() if k.startswith("w:")})

    def layer(params: jaxrnn.Params, xs: jax.Array) -> jax.Array:
        return jaxrnn.unroll(cell, params, xs, engine=engine)[1]

    def named(gradient: jaxrnn.Params) -> dict[str, Any]:
        return {k: a for k, a in gradient._asdict().items() if a is not None}

    return jitted.calls(layer, params, arrays, named)
