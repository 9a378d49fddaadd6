"""Gives JAX programs recurrent networks as pure functions: SimpleRNN, LSTM, GRU and ReLURNN."""

from jaxrnn import convert, diagnose, engines, parallel
from jaxrnn._cells import (
    CELLS,
    GRU,
    LSTM,
    ReLURNN,
    ResetBeforeGRU,
    SimpleRNN,
    init,
    initial_state,
    step,
)
from jaxrnn._stack import init_stack, unroll_stack
from jaxrnn._types import Cell, LSTMState, Params, State
from jaxrnn._unroll import unroll

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "Cell",
    "LSTMState",
    "Params",
    "ReLURNN",
    "ResetBeforeGRU",
    "SimpleRNN",
    "State",
    "convert",
    "diagnose",
    "engines",
    "init",
    "init_stack",
    "initial_state",
    "parallel",
    "step",
    "unroll",
    "unroll_stack",
]
