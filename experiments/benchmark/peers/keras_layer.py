"""Runs Keras: `SimpleRNN`, `LSTM`, `GRU` with `return_sequences`, on JAX or on TensorFlow.

On JAX under `jax.jit`, on TensorFlow under `tf.function`: what `fit` compiles a model with.
"""

import os
from typing import Any

import keras
import numpy as np

from experiments.benchmark.peers import Arrays, Calls, Problem

LAYERS = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def prepare(threads: int) -> bool:
    """TensorFlow gets both of its pools' sizes; it and XLA flush denormals by themselves."""
    if os.environ["KERAS_BACKEND"] == "jax":
        from experiments.benchmark.peers import jitted

        return jitted.prepare(threads)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    product = tf.function(lambda a: a * 1e-20)(tf.fill([64], tf.constant(1e-20, tf.float32)))
    return not np.any(product.numpy())


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """Weights are named "0", "1", "2", as they stand in `get_weights`."""
    batch, (steps, _, features, units) = len(arrays["xs"]), problem["sizes"]
    layer = LAYERS[problem["cell"]](units, return_sequences=True)
    layer.build((batch, steps, features))
    weights = [arrays[f"w:{k}"] for k in range(len(layer.trainable_variables))]
    if option == "jax":
        return _jax(layer, weights, arrays)
    return _tensorflow(layer, weights, arrays)


def _jax(layer: Any, weights: list[np.ndarray], arrays: Any) -> Any:
    from experiments.benchmark.peers import jitted

    others = [variable.value for variable in layer.non_trainable_variables]
    return jitted.calls(
        lambda weights, xs: layer.stateless_call(weights, others, xs)[0], weights, arrays, _named
    )


def _tensorflow(layer: Any, weights: list[np.ndarray], arrays: Any) -> Any:
    import tensorflow as tf

    for variable, array in zip(layer.trainable_variables, weights, strict=True):
        variable.assign(array)
    variables = [variable.value for variable in layer.trainable_variables]
    xs, dhs = tf.constant(arrays["xs"]), tf.constant(arrays["dhs"])
    forward = tf.function(layer)

    @tf.function
    def both(xs: Any, dhs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(xs)
            hs = layer(xs)
        dxs, *dweights = tape.gradient(hs, [xs, *variables], output_gradients=dhs)
        return hs, dxs, dweights

    def run_forward() -> dict[str, Any]:
        # `.numpy()` waits, and copies nothing on a CPU.
        return {"hs": forward(xs).numpy()}

    def run_both() -> dict[str, Any]:
        hs, dxs, dweights = both(xs, dhs)
        gradients = {f"d:{k}": a for k, a in _named([d.numpy() for d in dweights]).items()}
        return {"hs": hs.numpy(), "dxs": dxs.numpy(), **gradients}

    return {"forward": run_forward, "both": run_both}


def _named(weights: list[Any]) -> dict[str, Any]:
    return {str(k): array for k, array in enumerate(weights)}
