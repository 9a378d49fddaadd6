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

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num


class State(NamedTuple):
    """The state of a SimpleRNN or a GRU: `h` [..., H], which is also the output."""

    h: Float[Array, "*batch H"]


class LSTMState(NamedTuple):
    """The state of an LSTM: output `h` [..., H] and memory `c` [..., H]."""

    h: Float[Array, "*batch H"]
    c: Float[Array, "*batch H"]


class Params(NamedTuple):
    """The weights of one recurrent layer with `D` input features, `H` units and `G` gate blocks.

    Only a cell whose gates scale the recurrent product (GRU) has `bh`; anywhere else it would
    only repeat `bx`.
    """

    wx: Float[Array, "D GH"]
    wh: Float[Array, "H GH"]
    bx: Float[Array, " GH"]
    bh: Float[Array, " GH"] | None = None


AnyState = Any  # State, LSTMState or a new cell's own NamedTuple of arrays [..., H] with a field h


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell as data; static wherever it stands in a tree of arrays.

    Attributes:
        name: the key in `CELLS`, for a cell that is there.
        gates: how many blocks of H columns a pre-activation has.
        state: the type of the state, a NamedTuple of arrays [..., H]; its field `h` is the output
            and what meets the recurrent weights.
        update: `(gx, gh, state) -> state`, elementwise over batch and units.
        gate_bias: what each gate's `bx` starts at; zeros when empty.
        recurrent_bias: whether `Params.bh` exists.
        recurrent: `(gx, h, params) -> gh`, for a cell whose `gh` is not `h @ wh (+ bh)`. Such a
            cell runs on the reference engine only: the others are made for the one product.
        activations: `(gx, gh) -> {name: array}`, the gates as `update` applies them, for
            `jaxrnn.diagnose`.
        sigmoids: the names of those activations that lie between 0 and 1; the others lie between
            -1 and 1.
    """

    name: str
    gates: int
    state: type[Any]
    update: Callable[[Array, Array, AnyState], AnyState]
    gate_bias: tuple[float, ...] = ()
    recurrent_bias: bool = False
    recurrent: Callable[[Array, Array, Params], Array] | None = None
    activations: Callable[[Array, Array], dict[str, Array]] | None = None
    sigmoids: tuple[str, ...] = ()


def _simple_rnn_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """h' = tanh(gx + gh)  (Elman, 1990)."""
    return {"h": jnp.tanh(gx + gh)}


def _simple_rnn(gx: Array, gh: Array, state: State) -> State:
    return State(**_simple_rnn_gates(gx, gh))


def _lstm_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """i, f, o = sigmoid(gx + gh);  g = tanh(gx + gh)."""
    z = gx + gh
    # One sigmoid over the whole block, g's columns included, before it is split: four sigmoids
    # on slices keep XLA's CPU code from using whole vectors.
    i, f, _, o = jnp.split(jax.nn.sigmoid(z), 4, axis=-1)
    g = jnp.tanh(jnp.split(z, 4, axis=-1)[2])
    return {"i": i, "f": f, "g": g, "o": o}


def _lstm(gx: Array, gh: Array, state: LSTMState) -> LSTMState:
    """c' = f * c + i * g;  h' = o * tanh(c').

    Hochreiter and Schmidhuber (1997); the forget gate is that of Gers et al. (2000).
    """
    i, f, g, o = _lstm_gates(gx, gh).values()
    c = f * state.c + i * g
    return LSTMState(h=o * jnp.tanh(c), c=c)


def _gru_gates(gx: Array, gh: Array) -> dict[str, Array]:
    """r, z = sigmoid(gx + gh);  n = tanh(gx_n + r * gh_n)."""
    units = gx.shape[-1] // 3
    rz = jax.nn.sigmoid(gx[..., : 2 * units] + gh[..., : 2 * units])
    r, z = jnp.split(rz, 2, axis=-1)
    n = jnp.tanh(gx[..., 2 * units :] + r * gh[..., 2 * units :])
    return {"r": r, "z": z, "n": n}


def _gru(gx: Array, gh: Array, state: State) -> State:
    """h' = (1 - z) * n + z * h, with the reset gate after the product, as in cuDNN.

    After Cho et al. (2014).
    """
    _, z, n = _gru_gates(gx, gh).values()
    return State((1 - z) * n + z * state.h)


def _reset_gate(gx: Array, gh: Array, units: int) -> Array:
    return jax.nn.sigmoid(gx[..., :units] + gh[..., :units])


def _reset_before_products(gx: Array, h: Array, params: Params) -> Array:
    """Two products, as the second needs the reset gate that the first one gives."""
    units = h.shape[-1]
    rz = product(h, params.wh[:, : 2 * units], None)
    r = _reset_gate(gx, rz, units)
    n = product(r * h, params.wh[:, 2 * units : 3 * units], None)
    return jnp.concatenate([rz, n], axis=-1)


def _reset_before_z_n(gx: Array, gh: Array) -> dict[str, Array]:
    """z = sigmoid(gx + h @ wh);  n = tanh(gx_n + (r * h) @ wh_n)."""
    _, gx_z, gx_n = jnp.split(gx, 3, axis=-1)
    _, gh_z, gh_n = jnp.split(gh, 3, axis=-1)
    return {"z": jax.nn.sigmoid(gx_z + gh_z), "n": jnp.tanh(gx_n + gh_n)}


def _reset_before_gates(gx: Array, gh: Array) -> dict[str, Array]:
    return {"r": _reset_gate(gx, gh, gx.shape[-1] // 3), **_reset_before_z_n(gx, gh)}


def _reset_before_gru(gx: Array, gh: Array, state: State) -> State:
    """h' = (1 - z) * n + z * h, with the reset gate before the product (Cho et al., 2014)."""
    z, n = _reset_before_z_n(gx, gh).values()
    return State((1 - z) * n + z * state.h)


SimpleRNN = Cell("rnn", gates=1, state=State, update=_simple_rnn, activations=_simple_rnn_gates)
LSTM = Cell(
    "lstm", gates=4, state=LSTMState, update=_lstm, gate_bias=(0.0, 1.0, 0.0, 0.0),
    activations=_lstm_gates, sigmoids=("i", "f", "o"),
)  # fmt: skip
GRU = Cell(
    "gru", gates=3, state=State, update=_gru, recurrent_bias=True,
    activations=_gru_gates, sigmoids=("r", "z"),
)  # fmt: skip
# The GRU as it was first published, which Keras (`reset_after=False`) and Haiku have. `GRU` applies
# its reset gate after the product, as cuDNN and PyTorch do, because only then is one product
# enough; the two cannot share weights.
ResetBeforeGRU = Cell(
    "gru_reset_before", gates=3, state=State, update=_reset_before_gru,
    recurrent=_reset_before_products, activations=_reset_before_gates, sigmoids=("r", "z"),
)  # fmt: skip

CELLS = {cell.name: cell for cell in (SimpleRNN, LSTM, GRU)}


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
        dtype: of every array.

    Returns:
        `Params` with wx [D, G*H], wh [H, G*H], bx [G*H] and, for GRU, bh [G*H].

    Raises:
        ValueError: a size below 1.

    >>> jax.tree.map(jnp.shape, init(jax.random.key(0), LSTM, input_size=3, hidden_size=2))
    Params(wx=(3, 8), wh=(2, 8), bx=(8,), bh=None)
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")
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


def initial_state(cell: Cell, params: Params, batch_shape: tuple[int, ...] = ()) -> AnyState:
    """Give the state before the first step: zeros [*batch_shape, H] in every field."""
    zeros = jnp.zeros((*batch_shape, params.wh.shape[0]), accumulation_dtype(params.wh.dtype))
    return cell.state(*[zeros for _ in cell.state._fields])


def step(
    cell: Cell, params: Params, state: AnyState, x: Num[ArrayLike, "*batch D"]
) -> tuple[AnyState, Float[Array, "*batch H"]]:
    """Run one step in time: `(carry, x) -> (carry, y)`, the body that `jax.lax.scan` wants.

    Args:
        cell: which update.
        params: the layer's weights.
        state: the state before, arrays [..., H].
        x: the input [..., D], cast to the weights' dtype.

    Returns:
        The state after, and its `h` [..., H] as the output.

    >>> params = init(jax.random.key(0), GRU, input_size=3, hidden_size=2)
    >>> state, h = step(GRU, params, initial_state(GRU, params, (5,)), jnp.ones((5, 3)))
    >>> h.shape
    (5, 2)
    """
    state = cell.update(*pre_activations(cell, params, x, state.h), state)
    return state, state.h


def pre_activations(
    cell: Cell, params: Params, x: ArrayLike, h: Array
) -> tuple[Float[Array, "*batch GX"], Float[Array, "*batch GH"]]:
    """What an update is given: `gx` from the input and `gh` from the state before."""
    gx = product(x, params.wx, params.bx)
    if cell.recurrent is None:
        return gx, product(h, params.wh, params.bh)
    return gx, cell.recurrent(gx, h, params)


def check_params(cell: Cell, params: Params) -> None:
    """Raise `ValueError` unless the weights' shapes are those of one layer of this cell."""
    units = params.wh.shape[0]
    columns = cell.gates * units
    wanted = {"wx": (params.wx.shape[0], columns), "wh": (units, columns), "bx": (columns,)}
    if cell.recurrent_bias:
        wanted["bh"] = (columns,)
    for name, shape in wanted.items():
        array = getattr(params, name)
        if array is None or array.shape != shape:
            given = "missing" if array is None else f"of shape {array.shape}"
            raise ValueError(f"{name} is {given}; {cell.name} with {units} units expects {shape}")
    if params.bh is not None and not cell.recurrent_bias:
        raise ValueError(f"bh has shape {params.bh.shape}; {cell.name} has no recurrent bias")


def product(a: ArrayLike, w: Array, bias: Array | None) -> Array:
    """`a @ w (+ bias)`: factors in `w`'s dtype, the sum and the result in its accumulation type."""
    out = jnp.matmul(jnp.asarray(a, w.dtype), w, preferred_element_type=accumulation_dtype(w.dtype))
    return out if bias is None else out + bias.astype(out.dtype)


def accumulation_dtype(dtype: Any) -> Any:
    """The dtype of gates and states: at least float32, so that 16-bit weights cost no memory."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)
