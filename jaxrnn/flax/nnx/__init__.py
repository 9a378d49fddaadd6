"""Gives Flax NNX recurrent cells and `RNN`: `from flax import nnx` may become this import.

What is not recurrent is handed on from `flax.nnx` as it is.
"""

from typing import Any

from flax import nnx
from flax.nnx import RNNCellBase

from jaxrnn.flax.nnx._cells import (
    GRUCell,
    LSTMCell,
    OptimizedLSTMCell,
    SimpleCell,
)
from jaxrnn.flax.nnx._own import RecurrentCell
from jaxrnn.flax.nnx._rnn import RNN, Bidirectional, ScannedRNN

__all__ = [
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "OptimizedLSTMCell",
    "RNNCellBase",
    "RecurrentCell",
    "ScannedRNN",
    "SimpleCell",
]


def __getattr__(name: str) -> Any:
    return getattr(nnx, name)
