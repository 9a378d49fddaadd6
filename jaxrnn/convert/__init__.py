"""Converts weights from and to Keras, PyTorch, Flax, Haiku and Equinox, and layers to ONNX.

Weights are plain arrays, and none of those libraries is imported; `to_onnx` alone needs onnx. What
cannot be represented raises `ValueError` with the reason. Weights do not tell their activations:
you name the cell, and a PyTorch `nn.RNN` that is loaded as `SimpleRNN` is a tanh, whatever it was
(`ReLURNN` is the one of `nonlinearity="relu"`); a Flax cell with `residual=True` loads and then
computes something else. Every `from_` function is linear in the weights, up to a constant, and made
of JAX operations, so gradients with respect to the other library's own weights pass through it.
`float64` weights stay `float64` where `jax_enable_x64` is set, as everywhere in JAX. Every array
that is returned is its own: no other holds its memory.
"""

from jaxrnn.convert.equinox import from_equinox, to_equinox
from jaxrnn.convert.flax import from_linen, from_nnx, to_linen, to_nnx
from jaxrnn.convert.haiku import from_haiku, to_haiku
from jaxrnn.convert.keras import from_keras, to_keras
from jaxrnn.convert.onnx import to_onnx
from jaxrnn.convert.torch import from_torch, to_torch

__all__ = [
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_torch",
    "to_equinox",
    "to_haiku",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_onnx",
    "to_torch",
]
