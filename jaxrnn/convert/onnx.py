"""Writes layers as an ONNX model with that format's own `RNN`, `LSTM` and `GRU` nodes."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._checks import check_stack
from jaxrnn._stack import StackParams
from jaxrnn._types import Cell, Params
from jaxrnn.convert._layout import Order, reordered, row

# The node, where it keeps our gates (LSTM i, o, f, c; GRU z, r, h), and its attributes.
ONNX: dict[str, tuple[str, Order, dict[str, Any]]] = {
    "rnn": ("RNN", (0,), {"activations": ["Tanh"]}),
    "relu_rnn": ("RNN", (0,), {"activations": ["Relu"]}),
    "lstm": ("LSTM", (0, 3, 1, 2), {}),
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "gru_reset_before": ("GRU", (1, 0, 2), {"linear_before_reset": 0}),
}
OPSET, IR = 18, 8


def to_onnx(
    cell: Cell, params: StackParams, *, with_lengths: bool = True, with_states: bool = True
) -> Any:
    """Make an ONNX model of a stack: what `unroll_stack` computes, for any runtime of that format.

    Batch and time are of any size. Its inputs and outputs, by name:

        xs [batch, time, D], lengths int32 [batch], and for each layer h0, h1, ... and of an LSTM
        c0, c1, ...: the first states [directions, batch, H]
        hs [batch, time, directions * H], and for each layer h0_last, c0_last, ...

    Outputs past a length are zero and states those at it, as here; a sequence of length 0 keeps its
    first state, which the nodes alone would not do. (That is how onnxruntime reads `sequence_lens`,
    against which all this is tested.) Weights of 16 bits become float32, and so does what is
    computed with them.

    Args:
        cell: `SimpleRNN`, `ReLURNN`, `LSTM`, `GRU` or `ResetBeforeGRU`.
        params: `params[layer][direction]`.
        with_lengths: whether `lengths` is an input; without it every step is valid.
        with_states: whether the first states are inputs; without them they are zeros.

    Returns:
        An `onnx.ModelProto`, for `onnx.save(model, "model.onnx")`.

    Raises:
        ValueError: a cell for which ONNX has no node, weights that are not this cell's, two
            directions of one layer with different sizes.
        ModuleNotFoundError: onnx is not installed; it is the extra `jaxrnn[onnx]`.
    """
    onnx = _package()
    row(ONNX, cell, "ONNX")
    check_stack(cell, params)
    helper, number_of = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    dtype = _dtype(params[0][0])
    kind, fields = number_of(dtype), cell.state._fields
    inputs = [("xs", kind, ["batch", "time", params[0][0].wx.shape[0]])]
    inputs += [("lengths", number_of(np.dtype(np.int32)), ["batch"])] if with_lengths else []
    nodes, ends, initializers = [], [], dict[str, Any]()
    if with_lengths and with_states:
        initializers |= {"zero": np.zeros((), np.int32), "units_axis": np.array([1], np.int64)}
        nodes.append(helper.make_node("Greater", ["lengths", "zero"], ["any_step"]))
        nodes.append(helper.make_node("Unsqueeze", ["any_step", "units_axis"], ["is_run"]))
    nodes.append(helper.make_node("Transpose", ["xs"], ["xs0"], perm=[1, 0, 2]))
    for number, layer in enumerate(params):
        units = _units(number, layer)
        states = [(f"{field}{number}", kind, [len(layer), "batch", units]) for field in fields]
        inputs += states if with_states else []
        ends += [(f"{name}_last", *form) for name, *form in states]
        arrays = {f"{k}{number}": a for k, a in _arrays(cell, layer, dtype).items()}
        initializers |= arrays
        made = [f"{name}_run" if with_lengths and with_states else f"{name}_last"
                for name, *_ in states]  # fmt: skip
        given = [name if with_states else "" for name, *_ in states]
        nodes.append(_node(helper, cell, number, len(layer), units,
                           [*arrays, "lengths" if with_lengths else "", *given], made))  # fmt: skip
        for (name, *_), run in zip(states, made, strict=True):
            if run != f"{name}_last":
                nodes.append(helper.make_node("Where", ["is_run", run, name], [f"{name}_last"]))
        # [time, directions, batch, H], and the next layer reads [time, batch, directions * H].
        initializers[f"shape{number}"] = np.array([0, 0, len(layer) * units], np.int64)
        perm = {"perm": [0, 2, 1, 3]}
        nodes.append(helper.make_node("Transpose", [f"ys{number}"], [f"pairs{number}"], **perm))
        outputs = [f"pairs{number}", f"shape{number}"], [f"xs{number + 1}"]
        nodes.append(helper.make_node("Reshape", *outputs))
    nodes.append(helper.make_node("Transpose", [f"xs{len(params)}"], ["hs"], perm=[1, 0, 2]))
    features = sum(weights.wh.shape[0] for weights in params[-1])
    outs = [("hs", kind, ["batch", "time", features]), *ends]
    graph = helper.make_graph(
        nodes,
        cell.name,
        [helper.make_tensor_value_info(*form) for form in inputs],
        [helper.make_tensor_value_info(*form) for form in outs],
        [onnx.numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR, producer_name="jaxrnn")
    onnx.checker.check_model(model, full_check=True)
    return model


def _package() -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "jaxrnn.convert.to_onnx needs onnx; install it with: pip install 'jaxrnn[onnx]'",
            name="onnx",
        ) from None
    return onnx


def _dtype(params: Params) -> Any:
    dtype = np.dtype(params.wx.dtype)
    return dtype if dtype == np.float64 else np.dtype(np.float32)


def _units(number: int, layer: tuple[Params, ...]) -> int:
    units = [weights.wh.shape[0] for weights in layer]
    if len(set(units)) > 1:
        raise ValueError(
            f"params[{number}] has directions of {units[0]} and {units[1]} units; a node of ONNX "
            "has one size for both"
        )
    return units[0]


def _arrays(cell: Cell, layer: tuple[Params, ...], dtype: Any) -> dict[str, np.ndarray]:
    """W [directions, G*H, D], R [directions, G*H, H] and B [directions, 2*G*H]."""
    _, order, _ = ONNX[cell.name]
    made: dict[str, list[Any]] = {"W": [], "R": [], "B": []}
    for weights in layer:
        bh = jnp.zeros_like(weights.bx) if weights.bh is None else weights.bh
        wx, wh, bx, bh = (
            reordered(jnp.asarray(a), order) for a in (weights.wx, weights.wh, weights.bx, bh)
        )
        for name, array in (("W", wx.T), ("R", wh.T), ("B", jnp.concatenate([bx, bh]))):
            made[name].append(np.asarray(array, dtype))
    return {name: np.stack(arrays) for name, arrays in made.items()}


def _node(helper: Any, cell: Cell, number: int, directions: int, units: int,
          given: list[str], made: list[str]) -> Any:  # fmt: skip
    operator, _, attributes = ONNX[cell.name]
    options = {k: v * directions if isinstance(v, list) else v for k, v in attributes.items()}
    return helper.make_node(
        operator,
        [f"xs{number}", *given],
        [f"ys{number}", *made],
        hidden_size=units,
        direction="bidirectional" if directions == 2 else "forward",
        **options,
    )
