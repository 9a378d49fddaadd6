"""Converts the weights of PyTorch's recurrent modules and cells: any depth and direction."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._checks import check_params
from jaxrnn._stack import StackParams
from jaxrnn._types import Cell, Params
from jaxrnn.convert._layout import array, row

# Its gates stand in our order (LSTM i, f, g, o; GRU r, z, n); its matrices are transposed.
TORCH = {"rnn": "nn.RNN", "relu_rnn": "nn.RNN", "lstm": "nn.LSTM", "gru": "nn.GRU"}


def from_torch(cell: Cell, state_dict: Any, prefix: str = "") -> StackParams:
    """Load the weights of a PyTorch recurrent module; which activation they had, you say.

    Weights do not show it: those of `nn.RNN(nonlinearity="relu")` look like those of a tanh. The
    cell that you name decides (`SimpleRNN` is tanh), and the wrong one computes something else.

        wx = weight_ih.T   wh = weight_hh.T
        GRU: bx = bias_ih, bh = bias_hh;  else bx = bias_ih + bias_hh

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`.
        state_dict: the module itself (`nn.RNN`, `nn.LSTM`, `nn.GRU`, `nn.RNNCell`, `nn.LSTMCell`,
            `nn.GRUCell`, or a larger one that holds it), its `state_dict()`, or what
            `safetensors.numpy.load_file` reads: arrays or tensors by name, of any dtype and
            device. Missing biases become zeros.
        prefix: what stands before the names when `state_dict` is that of a larger module, as
            in "encoder.lstm."; all other names are left alone.

    Returns:
        `params[layer][direction]`, as `unroll_stack` wants them, every array a copy. An
        `nn.LSTMCell` is a stack of one layer and one direction: `params[0][0]` is for `step`.

    Raises:
        ValueError: a projection (`proj_size`), names or shapes that are not this cell's.

    >>> import jaxrnn
    >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> jaxrnn.convert.from_torch(jaxrnn.LSTM, weights)[0][0].wx.shape
    (3, 8)
    """
    kind = row(TORCH, cell, "PyTorch")
    if hasattr(state_dict, "state_dict"):
        state_dict = state_dict.state_dict()
    left = {name[len(prefix) :]: a for name, a in state_dict.items() if name.startswith(prefix)}
    if "weight_ih_l0" not in left and "weight_ih" not in left:
        raise ValueError(_no_weights(state_dict, prefix))
    projections = [name for name in left if name.startswith("weight_hr_l")]
    if projections:
        size = len(left[projections[0]])
        raise ValueError(
            f"{prefix}{projections[0]} is the projection of an {kind} with proj_size={size}, which "
            "jaxrnn does not have; train the module without proj_size"
        )
    stack: list[tuple[Params, ...]] = []
    if "weight_ih_l0" not in left:
        stack.append((_params(cell, left, ""),))
    else:
        directions = ("", "_reverse") if "weight_ih_l0_reverse" in left else ("",)
        while f"weight_ih_l{len(stack)}" in left:
            suffixes = [f"_l{len(stack)}{direction}" for direction in directions]
            stack.append(tuple(_params(cell, left, suffix) for suffix in suffixes))
    if left:
        raise ValueError(
            f"{', '.join(sorted(left))}: no part of a {kind}; give the state_dict of that module "
            "alone, or what stands before its names as prefix"
        )
    return tuple(stack)


def to_torch(
    cell: Cell, params: StackParams, prefix: str = "", *, single_step: bool = False
) -> dict[str, np.ndarray]:
    """Make the `state_dict` of a PyTorch recurrent module (with `bias=True`), as NumPy arrays.

    The inverse of `from_torch`. Where PyTorch has two biases and we one (RNN, LSTM), `bias_ih` is
    ours and `bias_hh` zero.

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`.
        params: `params[layer][direction]`.
        prefix: what to put before every name.
        single_step: for an `nn.RNNCell`, `nn.LSTMCell` or `nn.GRUCell`, whose names have no layer.

    Returns:
        Arrays by name: `module.load_state_dict({n: torch.from_numpy(a) for n, a in ...})`.

    Raises:
        ValueError: a cell that PyTorch does not have, weights that are not this cell's, several
            layers or directions for a single step.
    """
    kind = row(TORCH, cell, "PyTorch")
    if single_step and [len(layer) for layer in params] != [1]:
        raise ValueError(
            f"params has {len(params)} layers of {', '.join(str(len(layer)) for layer in params)} "
            f"directions; an {kind}Cell has one of one: give ((params[0][0],),)"
        )
    arrays = {}
    for number, layer in enumerate(params):
        for direction, weights in zip(("", "_reverse"), layer, strict=False):
            check_params(cell, weights)
            bh = jnp.zeros_like(weights.bx) if weights.bh is None else weights.bh
            suffix = "" if single_step else f"_l{number}{direction}"
            arrays[f"weight_ih{suffix}"] = weights.wx.T
            arrays[f"weight_hh{suffix}"] = weights.wh.T
            arrays[f"bias_ih{suffix}"] = weights.bx
            arrays[f"bias_hh{suffix}"] = bh
    # PyTorch takes over the memory that it is given, and must be able to write to it.
    return {prefix + name: np.array(a, order="C") for name, a in arrays.items()}


def _no_weights(state_dict: Mapping[str, Any], prefix: str) -> str:
    """Say which prefixes there are instead."""
    ends = ("weight_ih_l0", "weight_ih")
    prefixes = sorted({name.removesuffix(end) for name in state_dict for end in ends
                       if name.endswith(end)})  # fmt: skip
    if prefixes:
        others = " or ".join(f'prefix="{name}"' for name in prefixes)
        return f'prefix is "{prefix}", which no weight_ih_l0 has before it; give {others}'
    some = ", ".join(sorted(state_dict)[:3]) or "no names"
    more = f" and {len(state_dict) - 3} more" if len(state_dict) > 3 else ""
    return (
        f"state_dict has {some}{more}, and no weight_ih_l0 or weight_ih; give that of an nn.RNN, "
        "nn.LSTM or nn.GRU"
    )


def _params(cell: Cell, left: dict[str, Any], suffix: str) -> Params:
    """One direction's weights, taken out of `left`."""
    if f"weight_hh{suffix}" not in left or f"weight_ih{suffix}" not in left:
        missing = [n for n in ("weight_ih", "weight_hh") if n + suffix not in left]
        raise ValueError(f"no {missing[0]}{suffix} among {', '.join(sorted(left))}")
    wx, wh = array(left.pop(f"weight_ih{suffix}")).T, array(left.pop(f"weight_hh{suffix}")).T
    bx, bh = [
        array(left.pop(name)) if name in left else jnp.zeros(wx.shape[-1], wx.dtype)
        for name in (f"bias_ih{suffix}", f"bias_hh{suffix}")
    ]
    params = Params(wx, wh, bx, bh) if cell.recurrent_bias else Params(wx, wh, bx + bh)
    check_params(cell, params)
    return params
