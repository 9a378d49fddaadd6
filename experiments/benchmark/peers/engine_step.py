"""Runs our training step, that of `experiments.training` as the command does, without dropout."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxrnn
from experiments.benchmark import peers
from experiments.benchmark.peers import Arrays, Calls, Problem, jitted
from experiments.data.batch import Examples
from experiments.models import classifier
from experiments.training import runtime
from experiments.training.step import make_optimizer, make_schedule, make_steps


def prepare(threads: int) -> bool:
    """As the command begins."""
    runtime.reuse_memory()
    return jitted.prepare(threads)


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """The engine is the one that `unroll` takes by itself; the command has no other."""
    vocabulary, features = arrays["embedding"].shape
    sizes: Any = {"vocabulary": vocabulary, "features": features, "units": len(arrays["kernel"])}
    network = classifier.Classifier(jaxrnn.LSTM, readout="last", rngs=nnx.Rngs(0), **sizes)
    weights = {name: jnp.asarray(array) for name, array in peers.weights(arrays).items()}
    assert network.embedding is not None
    assert network.recurrent is not None
    assert network.dense.bias is not None
    network.embedding.embedding.set_value(jnp.asarray(arrays["embedding"]))
    network.recurrent.weights.set_value(((jaxrnn.Params(**weights),),))
    network.dense.kernel.set_value(jnp.asarray(arrays["kernel"]))
    network.dense.bias.set_value(jnp.asarray(arrays["bias"]))
    graph, params = nnx.split(network)
    # Clipping belongs to the command's step; here it never has anything to clip.
    rate = make_schedule("constant", problem["learning_rate"], 1)
    steps = make_steps(graph, make_optimizer("adam", rate, clip_norm=1e9), jax.random.key(0))
    state = [steps.init(params)]
    tokens = arrays["tokens"]
    count = np.full(len(tokens), tokens.shape[1], np.int32)
    labels = arrays["labels"].astype(np.int32)
    examples = Examples(tokens, count, labels, np.ones(len(tokens), np.float32))

    def step() -> dict[str, Any]:
        state[0], report = jax.block_until_ready(steps.train(state[0], examples))
        return {"loss": np.asarray(report.totals.loss) / len(tokens)}

    return {"step": step}
