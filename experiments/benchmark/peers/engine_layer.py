"""Runs `jaxrnn.unroll` with one of `jaxrnn.engines`; `default` leaves the choice to it."""

from typing import Any

import jax

import jaxrnn
from experiments.benchmark import peers
from experiments.benchmark.peers import Arrays, Calls, Problem, jitted

prepare = jitted.prepare


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """The engine named `option`; weights are `Params`."""
    cell = jaxrnn.CELLS[problem["cell"]]
    engine = None if option == "default" else getattr(jaxrnn.engines, option)
    params = jaxrnn.Params(**peers.weights(arrays))

    def layer(params: jaxrnn.Params, xs: jax.Array) -> jax.Array:
        return jaxrnn.unroll(cell, params, xs, engine=engine)[1]

    def named(gradient: jaxrnn.Params) -> dict[str, Any]:
        return {k: a for k, a in gradient._asdict().items() if a is not None}

    return jitted.calls(layer, params, arrays, named)
