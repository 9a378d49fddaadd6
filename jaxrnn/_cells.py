"""Defines the recurrent cells, each as its elementwise update, and what is the same for all.

SimpleRNN, GRU and LSTM are one machine. One product from the input and one from the state give
`G` blocks of `H` pre-activations each, and an elementwise update makes the next state of them:

    gx = x @ wx + bx            # [..., G*H]
    gh = h @ wh (+ bh)          # [..., G*H]
    state = update(gx, gh, state)

An update never sees a weight. (`ResetBeforeGRU`, which needs two products in turn, brings its own
`gh`.) All the rest (initialiser, step, unroll, stacking, direction, padding) is written once, for
any cell of this form. A new cell is one `Cell`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num

from jaxrnn._checks import (
    check_cell,
    check_dtype,
    check_key,
    check_params,
    check_size,
    checked_inputs,
    checked_params,
    checked_resets,
    checked_state,
)
from jaxrnn._types import AnyState, Cell, LSTMState, Params, State, accumulation_dtype
from jaxrnn._updates import (
    gru,
    gru_gates,
    lstm,
    lstm_gates,
    product,
    relu_rnn,
    relu_rnn_gates,
    reset_before_gates,
    reset_before_gru,
    reset_before_products,
    simple_rnn,
    simple_rnn_gates,
)
from jaxrnn._zeros import zero_state

SimpleRNN = Cell("rnn", gates=1, state=State, update=simple_rnn, activations=simple_rnn_gates)
ReLURNN = Cell(
    "relu_rnn", gates=1, state=State, update=relu_rnn, activations=relu_rnn_gates,
    rectified=("h",),
)  # fmt: skip
LSTM = Cell(
    "lstm", gates=4, state=LSTMState, update=lstm, gate_bias=(0.0, 1.0, 0.0, 0.0),
    activations=lstm_gates, sigmoids=("i", "f", "o"),
)  # fmt: skip
GRU = Cell(
    "gru", gates=3, state=State, update=gru, recurrent_bias=True,
    activations=gru_gates, sigmoids=("r", "z"),
)  # fmt: skip
# The GRU as it was first published, which Keras (`reset_after=False`) and Haiku have. `GRU` applies
# its reset gate after the product, as cuDNN and PyTorch do, because only then is one product
# enough; the two cannot share weights.
ResetBeforeGRU = Cell(
    "gru_reset_before", gates=3, state=State, update=reset_before_gru,
    recurrent=reset_before_products, activations=reset_before_gates, sigmoids=("r", "z"),
)  # fmt: skip

CELLS = {cell.name: cell for cell in (SimpleRNN, LSTM, GRU, ReLURNN)}


def init(
    key: Array, cell: Cell, input_size: int, hidden_size: int, *, dtype: Any = jnp.float32
) -> Params:
    """Draw fresh weights for one layer.

    `wx` is Glorot uniform and `wh` orthogonal, each gate's block by itself (a block is one map;
    an orthogonal [H, G*H] matrix would have no orthogonal block). Biases are zero, but for the
    LSTM's forget gate: 1, so that a new network remembers (Jozefowicz et al., 2015).

    Args:
        key: a `jax.random.key`.
        cell: `SimpleRNN`, `LSTM`, `GRU` or your own.
        input_size: D, the features of one step.
        hidden_size: H, the units.
        dtype: of every array: float32, bfloat16, float16 or float64.

    Returns:
        `Params` with wx [D, G*H], wh [H, G*H], bx [G*H] and, for GRU, bh [G*H].

    Raises:
        ValueError: a size below 1.
        TypeError: a dtype that is not of real numbers; a seed in the key's place.

    >>> jax.tree.map(jnp.shape, init(jax.random.key(0), LSTM, input_size=3, hidden_size=2))
    Params(wx=(3, 8), wh=(2, 8), bx=(8,), bh=None)
    """
    check_cell(cell)
    check_key(key)
    check_dtype(dtype)
    check_size("input_size", input_size)
    check_size("hidden_size", hidden_size)
    key_x, key_h = jax.random.split(key)
    # QR knows neither bfloat16 nor float16: draw in the accumulation type, then round.
    draw = accumulation_dtype(dtype)

    def per_gate(key: Array, initializer: Any, rows: int) -> Array:
        blocks = [
            initializer(k, (rows, hidden_size), draw) for k in jax.random.split(key, cell.gates)
        ]
        return jnp.concatenate(blocks, axis=1).astype(dtype)

    initializers = jax.nn.initializers
    return Params(
        wx=per_gate(key_x, initializers.glorot_uniform(), input_size),
        wh=per_gate(key_h, initializers.orthogonal(), hidden_size),
        bx=jnp.repeat(jnp.array(cell.gate_bias or (0.0,) * cell.gates, dtype), hidden_size),
        bh=jnp.zeros(cell.gates * hidden_size, dtype) if cell.recurrent_bias else None,
    )


def initial_state(
    cell: Cell,
    params: Params,
    batch_shape: tuple[int, ...] | None = None,
    *,
    like: ArrayLike | None = None,
) -> AnyState:
    """Give the state before the first step: zeros [*batch_shape, H] in every field.

    Each is an array of its own, at least float32. A `lax.scan` of `step` inside a checked
    `shard_map` or on an Explicit mesh needs a first state of the type that `step` returns, which
    plain zeros are not there: `like` makes it one.

    Args:
        cell: which state.
        params: the layer's weights.
        batch_shape: the batch axes; those of `like` without its last axis when not given, and none
            without `like`.
        like: an array [*batch_shape, ...], the input of one step for example. The state is placed
            as its batch is (on its device, split over a mesh) and varies over the mesh axes that
            it varies over. Its values are not looked at.

    Raises:
        TypeError: `batch_shape` that is no tuple; weights that are not this cell's.
        ValueError: `like` with another batch than `batch_shape`.

    >>> params = init(jax.random.key(0), LSTM, input_size=3, hidden_size=2)
    >>> xs = jnp.ones((7, 5, 3))                        # [T, B, D], as `lax.scan` has them
    >>> start = initial_state(LSTM, params, like=xs[0])
    >>> end, hs = jax.lax.scan(lambda state, x: step(LSTM, params, state, x), start, xs)
    >>> start.c.shape, hs.shape
    ((5, 2), (7, 5, 2))
    """
    check_params(cell, params)
    shape = () if like is None else jnp.shape(like)
    batch = shape[:-1] if batch_shape is None else batch_shape
    if not isinstance(batch, tuple | list):
        raise TypeError(f"batch_shape is {batch!r}; give a tuple: ({batch!r},)")
    batch = tuple(batch)
    if like is not None and shape[: len(batch)] != batch:
        raise ValueError(f"like has shape {shape}; batch_shape {batch} are to be its first axes")
    return zero_state(cell, params, batch, like, range(len(batch)))


def step(
    cell: Cell,
    params: Params,
    state: AnyState,
    x: Num[ArrayLike, "*batch D"],
    *,
    reset: Num[ArrayLike, "*batch"] | Bool[ArrayLike, "*batch"] | None = None,
) -> tuple[AnyState, Float[Array, "*batch H"]]:
    """Run one step in time: `(carry, x) -> (carry, y)`, the body that `jax.lax.scan` wants.

    It begins with `initial_state(cell, params, like=x)`.

    Args:
        cell: which update.
        params: the layer's weights.
        state: the state before, arrays [..., H], cast to the dtype of gates.
        x: the input [..., D], cast to the weights' dtype.
        reset: booleans or numbers [...]; where true, which is not zero, the state returns to zero
            before the step, as with `resets` of `unroll`.

    Returns:
        The state after, and its `h` [..., H] as the output.

    Raises:
        ValueError: shapes that do not fit: nothing is broadcast.
        TypeError: the state or the weights of another cell; complex numbers.

    >>> params = init(jax.random.key(0), GRU, input_size=3, hidden_size=2)
    >>> state, h = step(GRU, params, initial_state(GRU, params, (5,)), jnp.ones((5, 3)))
    >>> h.shape
    (5, 2)
    """
    params = checked_params(cell, params)
    x = checked_inputs("x", x, params, axes=1)
    state = checked_state(cell, params, state, x.shape[:-1], "x")
    if reset is not None:
        zero = checked_resets("reset", reset, x.shape[:-1], "x")[..., None]
        state = jax.tree.map(lambda field: jnp.where(zero, jnp.zeros_like(field), field), state)
    state = cell.update(*pre_activations(cell, params, x, state.h), state)
    # Outside a compiled program the output would be the state's own buffer, not to be donated too.
    traced = isinstance(state.h, jax.core.Tracer)
    return state, state.h if traced else jnp.copy(state.h)


def pre_activations(
    cell: Cell, params: Params, x: ArrayLike, h: Array
) -> tuple[Float[Array, "*batch GX"], Float[Array, "*batch GH"]]:
    """What an update is given: `gx` from the input and `gh` from the state before."""
    gx = product(x, params.wx, params.bx)
    if cell.recurrent is None:
        return gx, product(h, params.wh, params.bh)
    return gx, cell.recurrent(gx, h, params)
