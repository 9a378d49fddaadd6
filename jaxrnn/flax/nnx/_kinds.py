"""Tells which cells of NNX the engines can run: those that compute what the library's compute."""

from typing import Any

from flax import nnx

from jaxrnn._cells import GRU, LSTM, Cell, Params, SimpleRNN
from jaxrnn.flax import _common
from jaxrnn.flax.nnx import _cells
from jaxrnn.flax.nnx._own import RecurrentCell
from jaxrnn.flax.nnx._weights import fused, is_plain, layer_names

KINDS: dict[Any, Cell] = {
    nnx.SimpleCell: SimpleRNN,
    nnx.LSTMCell: LSTM,
    nnx.OptimizedLSTMCell: LSTM,
    nnx.GRUCell: GRU,
}
_STEPS = (*[c.__call__ for c in KINDS], _cells.LSTMCell.__call__, _cells.GRUCell.__call__)
_STARTS = (*[c.initialize_carry for c in KINDS], _cells.LSTMCell.initialize_carry)


def kind_of(cell: Any) -> Cell | None:
    """Which of the library's cells it is; None where its step, or a part of it, is another."""
    step = _as_written(type(cell).__call__)
    if isinstance(cell, RecurrentCell):
        return cell.kind if step is RecurrentCell.__call__ else None
    kind = next((kind for theirs, kind in KINDS.items() if isinstance(cell, theirs)), None)
    if kind is None or step not in _STEPS or getattr(cell, "residual", False):
        return None
    kind = _common.activated(kind, getattr(cell, "gate_fn", None), cell.activation_fn)
    if kind is None:
        return None
    layers = [getattr(cell, name) for pair in layer_names(kind, cell) for name in pair]
    return kind if all(is_plain(layer, cell) for layer in layers) else None


def begins_at_zero(cell: Any) -> bool:
    """Whether the first carry is zeros without asking: nothing is overridden, nothing drawn."""
    start = _as_written(type(cell).initialize_carry)
    if isinstance(cell, RecurrentCell):
        return start is RecurrentCell.initialize_carry
    return start in _STARTS and getattr(cell, "carry_init", None) is None


def weights(cell: Any) -> Params:
    """The weights of a cell of some kind."""
    if isinstance(cell, (RecurrentCell, _cells.Ours)):
        return cell.weights()
    kind = kind_of(cell)
    assert kind is not None
    return fused(kind, cell)


def _as_written(method: Any) -> Any:
    """A class's method, also while `nnx.tabulate` has put a recorder of its own around it."""
    file = getattr(getattr(method, "__code__", None), "co_filename", None)
    return method.__wrapped__ if file == nnx.tabulate.__code__.co_filename else method
