"""Follows Flax's conventions, for NNX and Linen: carries, dtypes, arguments of its `RNN`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxrnn._cells import (
    AnyState,
    Cell,
    LSTMState,
    Params,
    ReLURNN,
    SimpleRNN,
    accumulation_dtype,
    init,
    step,
)
from jaxrnn._unroll import unroll as unroll_cell
from jaxrnn.engines import Engine, choose
from jaxrnn.engines._protocol import as_engine
from jaxrnn.flax import _steps


class Front(NamedTuple):
    """A cell within its `RNN`, and what NNX and Linen do each in a way of its own.

    Attributes:
        cell: the module.
        kind: which of the library's cells it is; None where anything in it is not the library's.
        weights: `(carry, shape) -> Params`, for a cell of some `kind`; `shape` is that of the
            inputs of one step.
        begins_at_zero: whether its first carry is zeros.
        initialize_carry: `shape -> carry`.
        scan: `(body, carry, now) -> (carry, outputs)`, of `body(cell, carry, now)` lifted over the
            cell's variables.
    """

    cell: Any
    kind: Cell | None
    weights: Callable[[Any, tuple[int, ...]], Params]
    begins_at_zero: bool
    initialize_carry: Callable[[tuple[int, ...]], Any]
    scan: Callable[[Callable[..., Any], Any, Any], tuple[Any, Any]]


class Options(NamedTuple):
    """What both the constructor of an `RNN` and its call may say."""

    time_major: bool
    return_carry: bool
    reverse: bool
    keep_order: bool


def options(module: Any, *given: bool | None) -> Options:
    """The call's options, and the constructor's for those that the call leaves out."""
    pairs = zip(Options._fields, given, strict=True)
    return Options(*[getattr(module, name) if value is None else value for name, value in pairs])


def run(
    front: Front, inputs: Array, how: Options, initial_carry: Any, seq_lengths: Any, resets: Any,
    unroll: int, engine: Engine | Callable[..., Any] | None,
) -> Any:  # fmt: skip
    """Flax's `RNN.__call__`: outputs, or `(carry, outputs)`.

    In reverse and without `keep_order` outputs come as they were computed, last step first, with
    the padding still after them.
    """
    time_axis = 0 if how.time_major else inputs.ndim - front.cell.num_feature_axes - 1
    shape = (*inputs.shape[:time_axis], *inputs.shape[time_axis + 1 :])
    resets = as_booleans(resets)
    carry = initial_carry
    if carry is None and not front.begins_at_zero:
        carry = front.initialize_carry(shape)
    if front.kind is not None and (resets is None or front.begins_at_zero):
        result = _by_engine(front, inputs, how, carry, seq_lengths, resets, unroll, engine)
    elif engine is not None:
        raise ValueError(
            f"engine is {engine}; engines run the library's cells as they are, and "
            f"{type(front.cell).__name__} has something of its own (its __call__, gate_fn, "
            "activation_fn, ...) and is scanned: leave engine out"
        )
    else:
        first = carry
        if carry is None or (resets is not None and initial_carry is not None):
            first = front.initialize_carry(shape)
        result = _steps.run(
            front.scan, inputs, first if carry is None else carry, first, time_axis=time_axis,
            batch_axes=len(shape) - front.cell.num_feature_axes,
            lengths=seq_lengths, resets=resets, reverse=how.reverse, keep_order=how.keep_order,
        )  # fmt: skip
    return result if how.return_carry else result[1]


def _by_engine(
    front: Front, inputs: Array, how: Options, carry: Any, lengths: Any, resets: Any,
    unroll: int, engine: Engine | Callable[..., Any] | None,
) -> tuple[Any, Array]:  # fmt: skip
    cell = front.kind
    assert cell is not None
    time_axis = 0 if how.time_major else inputs.ndim - 2
    params = front.weights(carry, (*inputs.shape[:time_axis], *inputs.shape[time_axis + 1 :]))
    state = None if carry is None else to_state(cell, carry)
    befores = [front.cell.param_dtype] if state is None else [a.dtype for a in state]
    gates = gate_dtype(front.cell.dtype, params, inputs, *befores)
    engine = choose(cell, gates) if engine is None else as_engine(engine)
    if unroll != 1 and "unroll" in dict(engine.options):
        engine = engine.with_options(unroll=unroll)
    state, hs = unroll_cell(
        cell, cast(params, gates), inputs, state, lengths=lengths, resets=resets,
        reverse=how.reverse, time_major=how.time_major, engine=engine,
    )  # fmt: skip
    if how.reverse and not how.keep_order:
        hs = _steps.turned(hs, lengths, time_axis)
    dtype = carry_dtype(cell, gates, befores[-1])
    return to_carry(cast(state, dtype)), hs.astype(dtype)


def as_booleans(resets: Any) -> Any:
    """Resets as booleans, from numbers too: what is not zero is true."""
    return None if resets is None else jnp.asarray(resets) != 0


def gate_dtype(asked: Any, params: Params, *others: Any) -> Any:
    """The dtype of Flax's gates: the one asked for, or that of all that meets in them."""
    return jnp.result_type(*jax.tree.leaves(params), *others) if asked is None else asked


def carry_dtype(cell: Cell, gates: Any, before: Any) -> Any:
    """The dtype in which Flax's cells give carry and outputs.

    `before` is that of what the cell remembers, an LSTM's c; a SimpleRNN's h is forgotten.
    """
    return jnp.dtype(gates) if cell in (SimpleRNN, ReLURNN) else jnp.result_type(gates, before)


def cast(tree: Any, dtype: Any) -> Any:
    """A tree of arrays in a dtype; as they are when it is None."""
    return tree if dtype is None else jax.tree.map(lambda a: a.astype(dtype), tree)


def one_step(
    cell: Cell, params: Params, carry: Any, inputs: Array, dtype: Any
) -> tuple[Any, Array]:
    """Flax's `cell(carry, inputs)`: `(carry, outputs)`."""
    state = to_state(cell, carry)
    gates = gate_dtype(dtype, params, inputs, *state)
    after, outputs = step(cell, cast(params, gates), state, inputs)
    dtype = carry_dtype(cell, gates, state[-1])
    return to_carry(cast(after, dtype)), outputs.astype(dtype)


def activated(cell: Cell, gate_fn: Any, activation_fn: Any) -> Cell | None:
    """The library's cell with these functions; None where it has none."""
    if gate_fn not in (None, jax.nn.sigmoid):
        return None
    if activation_fn is jax.nn.relu and cell is SimpleRNN:
        return ReLURNN
    return cell if activation_fn in (jnp.tanh, jax.nn.tanh) else None


def to_state(cell: Cell, carry: Any) -> AnyState:
    """Read the state from a carry: Flax's is the array `h`, or `(c, h)` for an LSTM."""
    if isinstance(carry, cell.state):
        return carry
    if cell.state is LSTMState and type(carry) in (tuple, list) and len(carry) == 2:
        c, h = carry
        return LSTMState(h=h, c=c)
    if len(cell.state._fields) > 1 or isinstance(carry, (tuple, list, dict)):
        wanted = {LSTMState: "(c, h)"}.get(cell.state, "the array h")
        if cell.state is not LSTMState and len(cell.state._fields) > 1:
            wanted = f"a {cell.state.__name__}"
        raise TypeError(f"carry is a {type(carry).__name__}; that of a {cell.name} is {wanted}")
    return cell.state(carry)


def to_carry(state: AnyState) -> Any:
    """The inverse of `to_state`; a state that Flax does not know is its own carry."""
    if isinstance(state, LSTMState):
        return state.c, state.h
    return state[0] if len(state) == 1 else state


def drawn_carry(cell: Cell, initializer: Any, keys: Any, shape: Any, dtype: Any) -> Any:
    """A carry whose fields are drawn one by one, in Flax's order, from a function that gives keys.

    Every field is an array of its own, so that a program may donate them all.
    """
    count = len(cell.state._fields)
    fields = [initializer(keys(), shape, dtype) for _ in range(count)]
    return to_carry(cell.state(*(fields[::-1] if cell.state is LSTMState else fields)))


def initializer(
    cell: Cell, name: str, custom: Callable[..., Any] | None, features: int, units: int
) -> Callable[[Array, Any], Any]:
    """Give the function that draws the array `name` of `Params`: `(key, dtype) -> array`.

    A Flax initialiser is called for each gate's block by itself, so that orthogonal blocks are
    orthogonal and fans are those of one gate.
    """

    def draw(key: Array, dtype: Any) -> Any:
        if custom is None:
            return getattr(init(key, cell, features, units, dtype=dtype), name)
        rows = {"wx": (features,), "wh": (units,)}.get(name, ())
        return by_gate(custom, cell.gates)(key, (*rows, cell.gates * units), dtype)

    return draw


def by_gate(custom: Callable[..., Any], gates: int) -> Callable[..., Any]:
    """An initialiser that draws each gate's block of columns by itself."""
    if gates == 1:
        return custom

    def draw(key: Array, shape: tuple[int, ...], dtype: Any) -> Any:
        block = (*shape[:-1], shape[-1] // gates)
        blocks = [custom(k, block, dtype) for k in jax.random.split(key, gates)]
        # A tree, as a block may come in a box with the names of its axes.
        return jax.tree.map(lambda *b: jnp.concatenate(b, axis=-1), *blocks)

    return draw


def orthogonal(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Flax's `orthogonal()`, in 16 bits too, for which no QR decomposition is known."""
    draw = jax.nn.initializers.orthogonal()
    return draw(key, shape, accumulation_dtype(dtype)).astype(dtype)
