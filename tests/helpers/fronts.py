"""Modules of `jaxrnn.flax` and of Flax itself, each pair with the same weights.

`FRONTS[name](cell, **options)` gives `Front(ours, theirs, params)`: two functions with the
arguments of Flax's `RNN.__call__`, and the weights of both as `jaxrnn.Params`. `dtype` is the
cells' argument, `engine` that of our `RNN`, and all other options are those of either `RNN`.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from tables import random_params

from jaxrnn import convert
from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

CLASSES = {"rnn": "SimpleCell", "lstm": "LSTMCell", "gru": "GRUCell"}
INPUTS, UNITS = 5, 4


class Front(NamedTuple):
    ours: Any
    theirs: Any
    params: Any


def weights_for(cell, seed=0):
    """Random, but without the biases that no Flax cell has."""
    params = random_params(cell, seed, INPUTS, UNITS)
    return params if params.bh is None else params._replace(bh=jnp.zeros_like(params.bh))


def nnx_modules(cell, seed=0, dtype=None, engine=None, **options):
    params, name = weights_for(cell, seed), CLASSES[cell.name]
    theirs = getattr(nnx, name)(INPUTS, UNITS, dtype=dtype, rngs=nnx.Rngs(0))
    nnx.update(theirs, convert.to_nnx(cell, params))
    ours = getattr(our_nnx, name)(INPUTS, UNITS, dtype=dtype, rngs=nnx.Rngs(0))
    ours.set_params(params)
    return our_nnx.RNN(ours, engine=engine, **options), nnx.RNN(theirs, **options), params


def nnx_front(cell, dtype=None, **options):
    ours, theirs, params = nnx_modules(cell, dtype=dtype, **options)
    return Front(ours, theirs, params)


def traceable(module):
    """Flax's own module as a function for `jax.grad`: its generators count in their own trace."""
    if not isinstance(module, nnx.Module):
        return module
    graph, state = nnx.split(module)

    def call(inputs, **options):
        return nnx.merge(graph, jax.tree.map(lambda a: a, state))(inputs, **options)

    return call


def nnx_bidirectional(cell, merge_fn=None, **options):
    made = [nnx_modules(cell, seed) for seed in (0, 1)]
    options |= {} if merge_fn is None else {"merge_fn": merge_fn}
    ours = our_nnx.Bidirectional(made[0][0], made[1][0], **options)
    theirs = nnx.Bidirectional(made[0][1], made[1][1], **options)
    return Front(ours, theirs, [params for _, _, params in made])


def bound(module, variables):
    return functools.partial(module.apply, variables)


def as_variables(cell, params):
    return convert.to_linen(cell, params)["params"]


def linen_modules(cell, dtype=None, engine=None, **options):
    name = CLASSES[cell.name]
    ours = our_linen.RNN(getattr(our_linen, name)(UNITS, dtype=dtype), engine=engine, **options)
    return ours, nn.RNN(getattr(nn, name)(UNITS, dtype=dtype), **options)


def linen_front(cell, dtype=None, **options):
    params = weights_for(cell)
    ours, theirs = linen_modules(cell, dtype, **options)
    variables = {"params": {"cell": as_variables(cell, params)}}
    return Front(bound(ours, variables), bound(theirs, variables), params)


def linen_bidirectional(cell, merge_fn=None, **options):
    both = [weights_for(cell, seed) for seed in (0, 1)]
    options |= {} if merge_fn is None else {"merge_fn": merge_fn}
    modules = [linen_modules(cell) for _ in both]
    calls = []
    for which, library in enumerate((our_linen, nn)):
        module = library.Bidirectional(modules[0][which], modules[1][which], **options)
        names = ("forward_rnn", "backward_rnn")
        variables = {n: {"cell": as_variables(cell, p)} for n, p in zip(names, both, strict=True)}
        calls.append(bound(module, {"params": variables}))
    return Front(*calls, both)


FRONTS = {"nnx": nnx_front, "linen": linen_front}
BIDIRECTIONAL = {"nnx": nnx_bidirectional, "linen": linen_bidirectional}


def as_tuple(cell, carry):
    """A carry as our state's fields, (h,) or (h, c)."""
    return (carry[1], carry[0]) if cell.name == "lstm" else (carry,)


def as_carry(cell, state):
    """The inverse, from a tuple of fields."""
    return (state[1], state[0]) if cell.name == "lstm" else state[0]
