"""Tells which cells of Linen the engines can run: those that compute what the library's compute."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import module as linen_module

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN
from jaxrnn.convert.flax import linen_params
from jaxrnn.flax import _common
from jaxrnn.flax.linen import _cells
from jaxrnn.flax.linen._cells import RecurrentCell

KINDS: dict[Any, Cell] = {
    nn.SimpleCell: SimpleRNN,
    nn.LSTMCell: LSTM,
    nn.OptimizedLSTMCell: LSTM,
    nn.GRUCell: GRU,
}
_STEPS = (*[c.__call__ for c in KINDS], _cells.LSTMCell.__call__)
_STARTS = tuple(c.initialize_carry for c in KINDS)


def kind_of(cell: Any) -> Cell | None:
    """Which of the library's cells it is; None where its step, or a part of it, is another."""
    # Whoever intercepts the calls of modules wants to see them.
    if getattr(linen_module, "_global_interceptor_stack", None):
        return None
    step = type(cell).__call__
    if isinstance(cell, RecurrentCell):
        return cell.kind if step is RecurrentCell.__call__ else None
    kind = next((kind for theirs, kind in KINDS.items() if isinstance(cell, theirs)), None)
    if kind is None or step not in _STEPS or getattr(cell, "residual", False):
        return None
    return _common.activated(kind, getattr(cell, "gate_fn", None), cell.activation_fn)


def begins_at_zero(cell: Any) -> bool:
    """Whether the first carry is zeros without asking: nothing is overridden, nothing drawn."""
    start = type(cell).initialize_carry
    if isinstance(cell, RecurrentCell):
        return start is RecurrentCell.initialize_carry and cell.carry_init is None
    return start in _STARTS and cell.carry_init is nn.initializers.zeros_init()


def weights(cell: Any, carry: Any, shape: tuple[int, ...]) -> Params:
    """The weights of a cell of some kind; drawn by a step of the cell where there are none yet.

    The carry decides the width, as in Flax; `features` does where none is given.
    """
    if isinstance(cell, RecurrentCell):
        return cell.weights(shape[-1])
    if not cell.variables.get("params"):
        if carry is None:
            carry = cell.initialize_carry(jax.random.key(0), shape)
        cell(carry, jnp.zeros(shape, cell.param_dtype))
    kind = kind_of(cell)
    assert kind is not None
    params = linen_params(kind, nn.unbox(cell.variables["params"]))
    if carry is None and params.wh.shape[0] != cell.features:
        raise ValueError(
            f"features is {cell.features}; the weights have {params.wh.shape[0]} units: "
            "give initial_carry, or these features"
        )
    return params
