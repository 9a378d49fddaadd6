"""Asks a network with a state, and one without, which number follows two others.

The sequence 1 3 5 2 4 9 7 6 8 gives seven questions: (1, 3) -> 5, (3, 5) -> 2, ... (7, 6) -> 8.
The feed-forward net is 500 linear units and one more: an affine map of the two numbers, whatever
its width, and no such map fits. The recurrent one reads the numbers one after the other.

Inputs are the numbers themselves: divided by their range they would reach a SimpleRNN so small
that it stays affine, too. Answers are learnt in units of their standard deviation.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn

SEQUENCE = (1, 3, 5, 2, 4, 9, 7, 6, 8)
UNITS = 500

Predict = Callable[[Any, jax.Array], jax.Array]


class Answers(NamedTuple):
    """The predictions [7] of a trained network for each pair [7, 2], beside the truth [7]."""

    pairs: np.ndarray
    truth: np.ndarray
    predictions: np.ndarray
    parameters: int
    seconds: float


def feed_forward(key: jax.Array) -> tuple[Any, Predict]:
    """Dense(500, linear) -> Dense(1): fresh weights, and `(weights, pairs [B, 2]) -> [B]`."""
    first_key, second_key = jax.random.split(key)
    weights = _dense(first_key, 2, UNITS), _dense(second_key, UNITS, 1)

    def predict(weights: Any, pairs: jax.Array) -> jax.Array:
        first, second = weights
        return ((pairs @ first[0] + first[1]) @ second[0] + second[1])[:, 0]

    return weights, predict


def recurrent(key: jax.Array, cell: jaxrnn.Cell) -> tuple[Any, Predict]:
    """Cell(500) over the two numbers, its last state -> Dense(1)."""
    layer_key, dense_key = jax.random.split(key)
    weights = jaxrnn.init(layer_key, cell, 1, UNITS), _dense(dense_key, UNITS, 1)

    def predict(weights: Any, pairs: jax.Array) -> jax.Array:
        layer, dense = weights
        state, _ = jaxrnn.unroll(cell, layer, pairs[..., None])
        return (state.h @ dense[0] + dense[1])[:, 0]

    return weights, predict


def train(
    weights: Any, predict: Predict, *, epochs: int, learning_rate: float, seed: int
) -> Answers:
    """Adam on the squared error of one pair at a time, its rate falling to zero as a cosine."""
    begun = time.perf_counter()
    sequence = np.array(SEQUENCE, np.float32)
    pairs, truth = np.stack([sequence[:-2], sequence[1:-1]], axis=1), sequence[2:]
    middle, spread = sequence.mean(), sequence.std()
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, epochs * len(pairs)))

    def loss(weights: Any, pair: jax.Array, answer: jax.Array) -> jax.Array:
        return jnp.sum((predict(weights, pair[None]) - answer) ** 2)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: Any, opt_state: Any, pair: jax.Array, answer: jax.Array) -> Any:
        gradient = jax.grad(loss)(weights, pair, answer)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(weights, updates), opt_state

    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights))
    opt_state, order = optimizer.init(weights), np.random.default_rng(seed)
    for _ in range(epochs):
        for row in order.permutation(len(pairs)):
            answer = (truth[row] - middle) / spread
            weights, opt_state = step(weights, opt_state, pairs[row], answer)
    predictions = np.asarray(jax.jit(predict)(weights, pairs)) * spread + middle
    return Answers(pairs, truth, predictions, parameters, time.perf_counter() - begun)


def _dense(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    weights = jax.nn.initializers.glorot_uniform()(key, (inputs, outputs))
    return weights, jnp.zeros(outputs)
