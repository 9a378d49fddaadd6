"""Writes a network that answers, all its members, as one ONNX model: `(xs, lengths) -> logits`.

The recurrent layers are `jaxrnn.convert.to_onnx`'s; what stands before and after them is here.
"""

from typing import Any

import numpy as np
import onnx

import jaxrnn
from experiments.models.bigrams import MULTIPLIERS, SHIFTS
from experiments.models.classifier import Classifier, Readout
from experiments.models.ensemble import Ensemble, members
from jaxrnn.convert.onnx import IR, OPSET

FLOAT, WORD, INDEX = (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT32, onnx.TensorProto.INT32)


class Graph:
    """Nodes and arrays of a model that grows; values go by their names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Add a node and give its result; an input is a name, or an array or number to be kept."""
        names = [value if isinstance(value, str) else self._keep(value) for value in inputs]
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, names, [name], **attributes))
        return name

    def include(self, model: Any, prefix: str, given: dict[str, str]) -> None:
        """Add another model's nodes, their names with a prefix, and give it its inputs."""
        graph = onnx.compose.add_prefix(model, prefix).graph
        for name, value in given.items():
            self.nodes.append(onnx.helper.make_node("Identity", [value], [prefix + name]))
        self.nodes.extend(graph.node)
        self.arrays.extend(graph.initializer)

    def _keep(self, value: Any) -> str:
        name = f"array{len(self.arrays)}"
        self.arrays.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name


def to_onnx(model: Classifier | Ensemble) -> Any:
    """Make the model, an `onnx.ModelProto` of float32, for any batch and any number of steps.

    Its inputs are those of `Classifier`: `xs`, ids int32 [batch, time] or features float32
    [batch, time, D], and `lengths` int32 [batch]; its output is `logits` [batch, classes].
    """
    graph, each = Graph(), members(model)
    lengths = graph.add("Unsqueeze", "lengths", np.array([1]))
    steps = graph.add("Slice", graph.add("Shape", "xs"), np.array([1]), np.array([2]))
    range_of = [np.int64(0), graph.add("Squeeze", steps), np.int64(1)]
    at = graph.add("Cast", graph.add("Range", *range_of), to=INDEX)
    valid = graph.add("Unsqueeze", graph.add("Less", at, lengths), np.array([2]))
    logits = [_member(graph, n, member, valid, lengths) for n, member in enumerate(each)]
    graph.nodes.append(onnx.helper.make_node("Mean", logits, ["logits"]))
    first = each[0]
    xs = (INDEX, ["batch", "time"])
    if first.embedding is None:
        features = first.recurrent.weights.get_value()[0][0].wx.shape[0]
        xs = (FLOAT, ["batch", "time", features])
    form = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "classifier",
            [form("xs", *xs), form("lengths", INDEX, ["batch"])],
            [form("logits", FLOAT, ["batch", first.dense.out_features])],
            graph.arrays,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="jaxrnn",
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def _member(graph: Graph, number: int, member: Classifier, valid: str, lengths: str) -> str:
    xs = "xs" if member.embedding is None else _embedded(graph, member)
    if member.recurrent is None:
        last, hs = _as_outputs(graph, xs, valid, lengths)
    else:
        prefix, cell = f"member{number}/", member.recurrent.cell
        stack = member.recurrent.weights.get_value()
        recurrent = jaxrnn.convert.to_onnx(cell, stack, with_states=False)
        graph.include(recurrent, prefix, {"xs": xs, "lengths": "lengths"})
        hs, end = f"{prefix}hs", f"{prefix}h{len(stack) - 1}_last"
        width = len(stack[-1]) * stack[-1][0].wh.shape[0]
        last = graph.add("Transpose", end, perm=[1, 0, 2])
        last = graph.add("Reshape", last, np.array([0, width]))
    pooled = _read_out(graph, member.readout, last, hs, valid, lengths)
    if member.hidden is not None:
        pooled = graph.add("Relu", _dense(graph, member.hidden, pooled))
    return _dense(graph, member.dense, pooled)


def _dense(graph: Graph, layer: Any, xs: str) -> str:
    return graph.add("Gemm", xs, *[np.asarray(a[...]) for a in (layer.kernel, layer.bias)])


def _embedded(graph: Graph, member: Classifier) -> str:
    assert member.embedding is not None
    words = graph.add("Gather", np.asarray(member.embedding.embedding[...]), "xs")
    if member.bigrams is None:
        return words
    table = np.asarray(member.bigrams.table.embedding[...])
    rows = graph.add("Gather", table, _pair(graph, len(table)))
    return graph.add("Add", words, rows)


def _pair(graph: Graph, rows: int) -> str:
    """The row of each word's pair with the word before it, as `bigrams.row` computes it."""
    word = graph.add("Cast", "xs", to=WORD)
    padded = graph.add("Pad", "xs", np.array([0, 1, 0, 0]))
    before = graph.add("Slice", padded, np.array([0]), np.array([-1]), np.array([1]))
    mixed = _mixed(graph, graph.add("Cast", before, to=WORD))
    mixed = _mixed(graph, graph.add("BitwiseXor", mixed, word))
    return graph.add("Cast", graph.add("Mod", mixed, np.uint32(rows)), to=INDEX)


def _mixed(graph: Graph, bits: str) -> str:
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, None), strict=True):
        shifted = graph.add("BitShift", bits, np.uint32(shift), direction="RIGHT")
        bits = graph.add("BitwiseXor", bits, shifted)
        if multiplier is not None:
            bits = graph.add("Mul", bits, np.uint32(multiplier))
    return bits


def _as_outputs(graph: Graph, xs: str, valid: str, lengths: str) -> tuple[str, str]:
    """Features as a recurrent layer would give them: the last valid ones, and all."""
    hs = graph.add("Where", valid, xs, np.float32(0))
    index = graph.add("Max", graph.add("Sub", lengths, np.int32(1)), np.int32(0))
    index = graph.add("Cast", index, to=onnx.TensorProto.INT64)
    return graph.add("GatherND", hs, index, batch_dims=1), hs


def _read_out(graph: Graph, how: Readout, last: str, hs: str, valid: str, lengths: str) -> str:
    """One vector for each sequence, as `classifier.read_out` computes it."""
    if how == "last":
        return last
    time = np.array([1])
    count = graph.add("Cast", graph.add("Max", lengths, np.int32(1)), to=FLOAT)
    mean = graph.add("Div", graph.add("ReduceSum", hs, time, keepdims=0), count)
    if how == "mean":
        return mean
    masked = graph.add("Where", valid, hs, np.float32(-np.inf))
    largest = graph.add("ReduceMax", masked, time, keepdims=0)
    is_run = graph.add("Greater", lengths, np.int32(0))
    largest = graph.add("Where", is_run, largest, np.float32(0))
    return largest if how == "max" else graph.add("Concat", mean, largest, axis=1)
