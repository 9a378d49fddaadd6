"""Cells with something of their own, as users write them for Flax: of which nothing may be lost.

`OWN_CELLS[name](**options)` gives our `RNN` and Flax's as functions, with the same weights.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tables import random_xs

from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx


class NnxZeroed(our_nnx.GRUCell):
    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return carry, 0 * y + 1


class NnxLate(our_nnx.LSTMCell):
    """Begins at one, and keeps the step."""

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jax.tree.map(
            lambda a: a + 1, super().initialize_carry(input_shape, rngs, carry_init)
        )


class NnxLearned(our_nnx.GRUCell):
    """A first carry that is learned."""

    def __init__(self, *args, rngs, **options):
        super().__init__(*args, rngs=rngs, **options)
        self.first = nnx.Param(jax.random.normal(rngs.params(), (4,)))

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.broadcast_to(self.first[...], (*input_shape[:-1], 4))


class NnxOwn(nnx.Module):
    """No cell of anybody's: a running maximum, with a carry that is a dict."""

    def __init__(self, inputs, units, rngs):
        self.layer = nnx.Linear(inputs, units, rngs=rngs)
        self.units, self.in_features = units, inputs

    def __call__(self, carry, inputs):
        top = jnp.maximum(carry["top"], self.layer(inputs))
        return {"top": top, "count": carry["count"] + 1}, {"top": top, "twice": 2 * top}

    def initialize_carry(self, input_shape, rngs):
        batch = input_shape[:-1]
        return {"top": jnp.full((*batch, self.units), -5.0), "count": jnp.zeros(batch, jnp.int32)}

    @property
    def num_feature_axes(self):
        return 1


class LinenZeroed(our_linen.GRUCell):
    @nn.compact
    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return carry, 0 * y + 1


class LinenLate(our_linen.LSTMCell):
    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jax.tree.map(lambda a: a + 1, super().initialize_carry(rng, input_shape))


class LinenNormed(nn.RNNCellBase):
    """A cell of somebody's own: a simple cell with layer normalisation."""

    features: int

    @nn.compact
    def __call__(self, carry, inputs):
        z = nn.Dense(self.features)(inputs) + nn.Dense(self.features, use_bias=False)(carry)
        h = jnp.tanh(nn.LayerNorm()(z))
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jax.random.normal(rng, (*input_shape[:-1], self.features))

    @property
    def num_feature_axes(self):
        return 1


def nnx_cell(make):
    """Both `RNN`s as functions, over the same cell."""

    def build(**options):
        cells = [make(nnx.Rngs(0, carry=1)) for _ in range(2)]
        return our_nnx.RNN(cells[0], **options), nnx.RNN(cells[1], **options)

    return build


def linen_cell(cell):
    def build(**options):
        theirs = nn.RNN(cell, **options)
        variables = theirs.init(jax.random.key(0), random_xs())
        ours = our_linen.RNN(cell, **options)
        fresh = ours.init(jax.random.key(0), random_xs())
        jax.tree.map(np.testing.assert_array_equal, fresh, variables)
        return (
            lambda *args, **call: ours.apply(variables, *args, **call),
            lambda *args, **call: theirs.apply(variables, *args, **call),
        )

    return build


relu = {"gate_fn": jax.nn.hard_sigmoid, "activation_fn": jax.nn.relu}
normal = nnx.initializers.normal(1.0)


def rounded(args, *, dtype=None, inexact=True):
    """A promotion of dtypes of one's own: factors with few bits."""
    return tuple(None if a is None else jnp.round(a * 8) / 8 for a in args)


NNX_CELLS = {
    "a step of one's own": lambda rngs: NnxZeroed(5, 4, rngs=rngs),
    "a first carry of one's own": lambda rngs: NnxLate(5, 4, rngs=rngs),
    "a learned first carry": lambda rngs: NnxLearned(5, 4, rngs=rngs),
    "no cell of anybody's": lambda rngs: NnxOwn(5, 4, rngs),
    "promote_dtype": lambda rngs: our_nnx.GRUCell(5, 4, promote_dtype=rounded, rngs=rngs),
    "residual": lambda rngs: our_nnx.SimpleCell(5, 4, residual=True, rngs=rngs),
    "activation_fn": lambda rngs: our_nnx.SimpleCell(5, 4, activation_fn=jax.nn.elu, rngs=rngs),
    "relu": lambda rngs: our_nnx.SimpleCell(5, 4, activation_fn=jax.nn.relu, rngs=rngs),
    "gate_fn of LSTM": lambda rngs: our_nnx.LSTMCell(5, 4, **relu, rngs=rngs),
    "gate_fn of OptimizedLSTM": lambda rngs: our_nnx.OptimizedLSTMCell(5, 4, **relu, rngs=rngs),
    "gate_fn alone": lambda rngs: our_nnx.GRUCell(5, 4, gate_fn=jax.nn.hard_sigmoid, rngs=rngs),
    "activation_fn alone": lambda rngs: our_nnx.LSTMCell(5, 4, activation_fn=jnp.sin, rngs=rngs),
    "candidate_bias and gate_fn": lambda rngs: our_nnx.GRUCell(
        5, 4, **relu, candidate_bias=True, bias_init=normal, rngs=rngs
    ),
}
LINEN_CELLS = {
    "a step of one's own": LinenZeroed(4),
    "a first carry of one's own": LinenLate(4),
    "a cell of one's own": LinenNormed(4),
    "rematerialised": nn.remat(our_linen.LSTMCell)(4),
    "residual": our_linen.SimpleCell(4, residual=True),
    "relu": our_linen.SimpleCell(4, activation_fn=nn.relu),
    "gate_fn of LSTM": our_linen.LSTMCell(4, **relu),
    "gate_fn of OptimizedLSTM": our_linen.OptimizedLSTMCell(4, **relu),
    "gate_fn alone": our_linen.GRUCell(4, gate_fn=jax.nn.hard_sigmoid),
    "activation_fn alone": our_linen.LSTMCell(4, activation_fn=jnp.sin),
    "carry_init": our_linen.LSTMCell(4, carry_init=nn.initializers.normal(1.0)),
    "MGUCell": nn.MGUCell(4),
}
OWN_CELLS = {f"nnx: {name}": nnx_cell(make) for name, make in NNX_CELLS.items()}
OWN_CELLS |= {f"linen: {name}": linen_cell(cell) for name, cell in LINEN_CELLS.items()}
