"""Makes a small classifier, and batches for it."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxrnn
from experiments.data.batch import Examples
from experiments.models.classifier import Classifier

LENGTHS = jnp.array([6, 1, 4, 0], jnp.int32)


def classifier(cell=jaxrnn.GRU, **options):
    options = {"vocabulary": 20, "features": 5, "units": 4} | options
    return Classifier(cell, **options, rngs=nnx.Rngs(0))


def ids(seed=0, shape=(4, 6)):
    return jnp.asarray(np.random.default_rng(seed).integers(1, 20, shape), jnp.int32)


def examples(n=8, steps=6, seed=0, filler=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, steps + 1, n).astype(np.int32)
    inputs = rng.integers(1, 20, (n, steps)).astype(np.int32)
    inputs[np.arange(steps) >= lengths[:, None]] = 0
    rows = Examples(inputs, lengths, rng.integers(0, 2, n).astype(np.int32), np.ones(n, np.float32))
    return Examples(*[np.concatenate([a, np.zeros((filler, *a.shape[1:]), a.dtype)]) for a in rows])
