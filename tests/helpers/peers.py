"""The recurrent layers of Keras, Haiku, Equinox and Flax as functions of their own weights.

Each `*_peer` gives `Peer(weights, run, load)`: random weights as the library holds them,
`run(weights, xs, lengths) -> (states, hs)` through the library itself, with states as tuples (h,)
or (h, c) for each layer and direction, and `load(weights)`, the same weights as `jaxrnn`'s stack.
"""

import warnings
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras
import numpy as np
from flax import nnx

from jaxrnn import convert

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # they touch names that JAX is about to drop
    import equinox as eqx
    import haiku as hk

KERAS = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
LINEN = {"rnn": nn.SimpleCell, "lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
NNX = {"rnn": nnx.SimpleCell, "lstm": nnx.LSTMCell, "gru": nnx.GRUCell}


class Peer(NamedTuple):
    weights: Any
    run: Any
    load: Any


def randomised(tree, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape), dtype), tree)


def as_tuple(carry):
    """Flax's carry, h or (c, h), as ours."""
    return (carry[1], carry[0]) if isinstance(carry, tuple) else (carry,)


def keras_layers(
    cell, dtype="float32", inputs=3, units=5, layers=1, bidirectional=False, **options
):
    """Built Keras layers; `gru_reset_before` is GRU(reset_after=False)."""
    if cell.name == "gru_reset_before":
        options["reset_after"] = False
    made = []
    for _ in range(layers):
        layer = KERAS[cell.name[:3].replace("lst", "lstm")](
            units, return_sequences=True, return_state=True, dtype=dtype, **options
        )
        layer = keras.layers.Bidirectional(layer, dtype=dtype) if bidirectional else layer
        layer.build((None, None, inputs))
        if dtype == "float64" and "activation" not in options:
            # On its JAX backend Keras's own tanh computes in float32. Set past the wrapper, which
            # copies a layer through its config.
            for one in (layer.forward_layer, layer.backward_layer) if bidirectional else (layer,):
                one.cell.activation = jnp.tanh
        inputs = 2 * units if bidirectional else units
        made.append(layer)
    return made


def get_weights(layer):
    """As `layer.get_weights()`, which warns with this Keras on NumPy 2.4."""
    return [np.asarray(variable.value) for variable in layer.weights]


def keras_peer(cell, dtype="float32", inputs=3, units=5, layers=1, bidirectional=False, **options):
    made = keras_layers(cell, dtype, inputs, units, layers, bidirectional, **options)
    weights = randomised([get_weights(layer) for layer in made], dtype)

    def run(weights, xs, lengths):
        mask = None if lengths is None else np.arange(xs.shape[1]) < np.asarray(lengths)[:, None]
        states = []
        for layer, arrays in zip(made, weights, strict=True):
            (xs, *finals), _ = layer.stateless_call(
                arrays, [v.value for v in layer.non_trainable_variables], xs, mask=mask
            )
            fields = 2 if cell.name == "lstm" else 1
            states.append([tuple(finals[k : k + fields]) for k in range(0, len(finals), fields)])
        return states, xs

    return Peer(weights, run, lambda weights: convert.from_keras(cell, weights))


def linen_peer(cell, dtype="float32", inputs=3, units=5, kind=None):
    rnn = nn.RNN((kind or LINEN[cell.name])(units, param_dtype=dtype), return_carry=True)
    shapes = jax.eval_shape(rnn.init, jax.random.key(0), jnp.ones((1, 1, inputs), dtype))

    def run(variables, xs, lengths):
        carry, hs = rnn.apply(variables, xs, seq_lengths=lengths)
        return [[as_tuple(carry)]], hs

    def load(variables):
        return ((convert.from_linen(cell, variables["params"]["cell"]),),)

    return Peer(randomised(shapes, dtype), run, load)


def nnx_peer(cell, dtype="float32", inputs=3, units=5, kind=None):
    options = {"dtype": dtype} if cell.name == "rnn" else {}  # its default is float32, not None
    made = (kind or NNX[cell.name])(
        inputs, units, param_dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0), **options
    )
    graph, weights, rest = nnx.split(nnx.RNN(made, return_carry=True), nnx.Param, ...)

    def run(weights, xs, lengths):
        # Copied, as its generator counts, which only a variable of the same trace may.
        own = jax.tree.map(lambda a: a, rest)
        carry, hs = nnx.merge(graph, weights, own)(xs, seq_lengths=lengths)
        return [[as_tuple(carry)]], hs

    def load(weights):
        return ((convert.from_nnx(cell, weights["cell"]),),)

    return Peer(randomised(weights, dtype), run, load)


def haiku_peer(cell, dtype="float32", inputs=3, units=5):
    def network(xs):
        core = hk.LSTM(units) if cell.name == "lstm" else hk.GRU(units)
        hs, state = hk.dynamic_unroll(
            core,
            xs,
            jax.tree.map(lambda a: jnp.asarray(a, dtype), core.initial_state(xs.shape[0])),
            time_major=False,
        )
        return state, hs

    transformed = hk.without_apply_rng(hk.transform(network))
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), jnp.ones((1, 1, inputs), dtype))

    def run(weights, xs, lengths):
        assert lengths is None, "Haiku's unroll knows no lengths"
        state, hs = transformed.apply(weights, xs)
        return [[tuple(state) if cell.name == "lstm" else (state,)]], hs

    def load(weights):
        name = "lstm/linear" if cell.name == "lstm" else "gru"
        return ((convert.from_haiku(cell, weights[name]),),)

    return Peer(randomised(shapes, dtype), run, load)


def equinox_peer(cell, dtype="float32", inputs=3, units=5, use_bias=True):
    kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[cell.name]
    made = kind(inputs, units, use_bias=use_bias, dtype=jnp.dtype(dtype), key=jax.random.key(0))
    weights, rest = eqx.partition(made, eqx.is_array)

    def run(weights, xs, lengths):
        assert lengths is None, "Equinox has cells and no layers"
        network = eqx.combine(weights, rest)
        zeros = jnp.zeros((2, units) if cell.name == "lstm" else units, dtype)

        def one(xs):
            def step(state, x):
                after = network(x, state)
                after = jnp.stack(after) if cell.name == "lstm" else after
                return after, after[0] if cell.name == "lstm" else after

            state, hs = jax.lax.scan(step, zeros, xs)
            return tuple(state) if cell.name == "lstm" else (state,), hs

        states, hs = jax.vmap(one)(xs)
        return [[states]], hs

    def load(weights):
        return ((convert.from_equinox(cell, weights),),)

    return Peer(randomised(weights, dtype), run, load)
