"""Gives Flax Linen recurrent cells and `RNN`: `import flax.linen as nn` may become this import.

What is not recurrent is handed on from `flax.linen` as it is, and so are the cells `ConvLSTMCell`
and `MGUCell`, which `RNN` scans.
"""

from typing import Any

import flax.linen as nn
from flax.linen import RNNCellBase

from jaxrnn.flax.linen._cells import (
    GRUCell,
    LSTMCell,
    OptimizedLSTMCell,
    RecurrentCell,
    SimpleCell,
)
from jaxrnn.flax.linen._rnn import RNN, Bidirectional, ScannedRNN

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
    return getattr(nn, name)
