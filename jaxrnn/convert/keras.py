"""Converts the weights of Keras's recurrent layers, each alone or `Bidirectional`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._checks import check_params
from jaxrnn._stack import StackParams
from jaxrnn._types import Cell, Params
from jaxrnn.convert._layout import Order, array, inverse, reordered, row

# Where Keras keeps our gates: LSTM i, f, g, o as here; GRU z, r, n instead of r, z, n.
KERAS: dict[str, Order] = {
    "rnn": (0,),
    "relu_rnn": (0,),
    "lstm": (0, 1, 2, 3),
    "gru": (1, 0, 2),
    "gru_reset_before": (1, 0, 2),
}
# What a layer's arrays are called in a file: by number, or by name in the older `.h5`.
NAMES = (("0", "1", "2"), ("kernel", "recurrent_kernel", "bias"),
         ("kernel:0", "recurrent_kernel:0", "bias:0"))  # fmt: skip


def from_keras(cell: Cell, layers: Any, *, bidirectional: bool | None = None) -> StackParams:
    """Load the weights of Keras layers, one on top of the other; their activations, you say.

    Weights do not show `activation` and `recurrent_activation`: the cell that you name decides
    (`SimpleRNN(activation="relu")` is `ReLURNN`; an LSTM or GRU with others than tanh and sigmoid
    computes something else here). Nor do they show `reset_after` where there is no bias,
    `go_backwards` (give `unroll` reverse=True, and turn its outputs round), or the `merge_mode` of
    a `Bidirectional` layer (outputs are concatenated here).

    Args:
        cell: `SimpleRNN`, `ReLURNN`, `LSTM`, `GRU`, or for `keras.layers.GRU(reset_after=False)`
            `ResetBeforeGRU`.
        layers: a list of layers, from the input up, each as one of these:

            - `layer.get_weights()`: kernel [D, G*H], recurrent kernel [H, G*H] and bias [G*H]
              (a GRU's [2, 3*H]); a `Bidirectional` layer has these twice. Missing biases become
              zeros.
            - what `h5py` opens from a `.weights.h5` file, `file["layers/lstm"]`. A `.keras` file is
              a ZIP file with a `model.weights.h5` in it:
              `h5py.File(zipfile.ZipFile("model.keras").open("model.weights.h5"))`.

        bidirectional: your word that a layer with two of everything is `Bidirectional`. Needed
            only where each reads as many features as it has units: then the two cells of a
            `StackedRNNCells` look just so.

    Returns:
        `params[layer][direction]`, as `unroll_stack` wants them, every array a copy.

    Raises:
        ValueError: arrays that are not those of such a layer.

    >>> import jaxrnn
    >>> lstm = [np.ones((3, 8)), np.ones((2, 8)), np.zeros(8)]   # keras.layers.LSTM(2) on 3 inputs
    >>> stack = from_keras(jaxrnn.LSTM, [lstm])
    >>> stack[0][0].wx.shape
    (3, 8)
    """
    order = row(KERAS, cell, "Keras")
    if isinstance(layers, Mapping):
        layers = [layers]
    return tuple(
        _layer(cell, order, number, weights, bidirectional) for number, weights in enumerate(layers)
    )


def to_keras(cell: Cell, params: StackParams) -> list[list[np.ndarray]]:
    """Make what `layer.set_weights` of each Keras layer takes; the inverse of `from_keras`.

    Args:
        cell: as for `from_keras`.
        params: `params[layer][direction]`. A layer with two directions is a `Bidirectional` one.

    Returns:
        For each layer a list of NumPy arrays.

    Raises:
        ValueError: a cell that Keras does not have, weights that are not this cell's.
    """
    order = inverse(row(KERAS, cell, "Keras"))
    return [[array for p in layer for array in _arrays(cell, order, p)] for layer in params]


def _layer(
    cell: Cell, order: Order, number: int, weights: Any, bidirectional: bool | None
) -> tuple[Params, ...]:
    if isinstance(weights, Mapping):
        return tuple(_params(cell, order, number, arrays) for arrays in _of_file(number, weights))
    directions = {2: 1, 3: 1, 4: 2, 6: 2}.get(len(weights))
    if directions is None or hasattr(weights, "ndim"):
        raise ValueError(
            f"layer {number} holds {len(weights)} arrays; a Keras layer has 2 or 3 (kernel, "
            "recurrent kernel, bias), a Bidirectional one 4 or 6. Give a list of layers: "
            "[layer.get_weights()], each cell of a StackedRNNCells as one of its own"
        )
    each = len(weights) // directions
    if directions == 2:
        _check_directions(number, weights, each, bidirectional)
    return tuple(
        _params(cell, order, number, weights[d * each :][:each]) for d in range(directions)
    )


def _check_directions(
    number: int, weights: Sequence[Any], each: int, bidirectional: bool | None
) -> None:
    """Raise unless both halves read the same input, and can be nothing but two directions."""
    first, second, units = (np.shape(weights[k])[0] for k in (0, each, 1))
    split = f"give each as a layer of its own: weights[:{each}], weights[{each}:]"
    if first != second or bidirectional is False:
        raise ValueError(
            f"layer {number} has kernels for {first} and {second} features, as the two cells of a "
            f"StackedRNNCells and not the directions of a Bidirectional layer; {split}"
        )
    if bidirectional is None and first == units:
        raise ValueError(
            f"layer {number} may be Bidirectional or the two cells of a StackedRNNCells, as "
            f"{units} units read {first} features; give bidirectional=True, or {split}"
        )


def _of_file(number: int, group: Mapping[str, Any]) -> list[list[Any]]:
    """The arrays of each direction of a layer, out of what `h5py` opened."""
    found = dict(_cells_of(group, ""))
    backward = [place for place in found if "backward" in place]
    forward = [place for place in found if place not in backward]
    if len(forward) == 1 and len(backward) <= 1:
        return [found[place] for place in (*forward, *backward)]
    if not found:
        raise ValueError(
            f"layer {number} is a group of a file with {', '.join(sorted(group)) or 'nothing'} in "
            'it and no recurrent weights; give that of a layer: file["layers/lstm"]'
        )
    each = ", ".join(f'group["{place}"]' for place in sorted(found))
    raise ValueError(
        f"layer {number} is a group of a file with several recurrent layers or cells; give each as "
        f"a layer of its own, from the input up: {each}"
    )


def _cells_of(group: Mapping[str, Any], place: str) -> Iterator[tuple[str, list[Any]]]:
    """Every place in a group of a file that holds a kernel and a recurrent kernel."""
    for names in NAMES:
        arrays = [group[name] for name in names if name in group]
        if len(arrays) >= 2 and [len(getattr(a, "shape", ())) for a in arrays[:2]] == [2, 2]:
            yield place.removesuffix("/vars") or ".", arrays
    for name in group:
        if isinstance(group[name], Mapping):
            yield from _cells_of(group[name], f"{place}/{name}" if place else name)


def _params(cell: Cell, order: Order, number: int, weights: Sequence[Any]) -> Params:
    shapes = [np.shape(w) for w in weights]
    rows = 2 if cell.recurrent_bias else 1
    if [len(shape) for shape in shapes[:2]] != [2, 2] or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"layer {number} has arrays of shapes {', '.join(map(str, shapes))}; a Keras layer has "
            "kernel [D, G*H], recurrent kernel [H, G*H] and bias, in this order"
        )
    if len(shapes) == 3 and len(shapes[2]) != rows:
        other, flag = ("ResetBeforeGRU", False) if rows == 2 else ("GRU", True)
        is_gru = cell.name in ("gru", "gru_reset_before")
        raise ValueError(
            f"bias has shape {shapes[2]}, that of a GRU with reset_after={flag}; load it as "
            f"jaxrnn.{other}"
            if is_gru
            else f"layer {number} has a bias of shape {shapes[2]}; {cell.name} has one of shape "
            f"({shapes[0][1]},): give kernel, recurrent kernel and bias of a Keras layer"
        )
    wx, wh, *biases = [reordered(array(w), order) for w in weights]
    if rows == 2:
        nothing = [jnp.zeros(wx.shape[-1], wx.dtype) for _ in range(2)]
        bx, bh = biases[0] if biases else nothing
        params = Params(wx, wh, bx, bh)
    else:
        params = Params(wx, wh, biases[0] if biases else jnp.zeros(wx.shape[-1], wx.dtype))
    check_params(cell, params)
    return params


def _arrays(cell: Cell, order: Order, params: Params) -> list[np.ndarray]:
    check_params(cell, params)
    bias = params.bx if params.bh is None else jnp.stack([params.bx, params.bh])
    return [np.array(reordered(a, order)) for a in (params.wx, params.wh, bias)]
