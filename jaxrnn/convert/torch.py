"""Converts the weights of PyTorch's `nn.RNN`, `nn.LSTM` and `nn.GRU`: any depth and direction."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn._cells import Cell, Params, check_params
from jaxrnn._stack import StackParams
from jaxrnn.convert._layout import array, row

# Its gates stand in our order (LSTM i, f, g, o; GRU r, z, n); its matrices are transposed.
TORCH = {"rnn": "nn.RNN", "lstm": "nn.LSTM", "gru": "nn.GRU"}


def from_torch(cell: Cell, state_dict: Mapping[str, Any], prefix: str = "") -> StackParams:
    """Load the weights of a PyTorch recurrent module.

        wx = weight_ih.T   wh = weight_hh.T
        GRU: bx = bias_ih, bh = bias_hh;  else bx = bias_ih + bias_hh

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`.
        state_dict: arrays or CPU tensors by name: `module.state_dict()`, or what
            `safetensors.numpy.load_file` reads. Missing biases become zeros. (bfloat16 tensors:
            `.float()` first, as they cannot become NumPy arrays.)
        prefix: what stands before the names when `state_dict` is that of a larger module, as
            in "encoder.lstm."; all other names are left alone.

    Returns:
        `params[layer][direction]`, as `unroll_stack` wants them.

    Raises:
        ValueError: a projection (`proj_size`), names or shapes that are not this cell's.

    >>> import jaxrnn
    >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> jaxrnn.convert.from_torch(jaxrnn.LSTM, weights)[0][0].wx.shape
    (3, 8)
    """
    row(TORCH, cell, "PyTorch")
    left = {name[len(prefix) :]: a for name, a in state_dict.items() if name.startswith(prefix)}
    if "weight_ih_l0" not in left:
        raise ValueError(
            f"no {prefix}weight_ih_l0 among {', '.join(sorted(state_dict)) or 'no names'}; give "
            "the part before weight_ih_l0 as prefix"
        )
    directions = ("", "_reverse") if "weight_ih_l0_reverse" in left else ("",)
    stack: list[tuple[Params, ...]] = []
    while f"weight_ih_l{len(stack)}" in left:
        suffixes = [f"l{len(stack)}{direction}" for direction in directions]
        stack.append(tuple(_params(cell, left, suffix) for suffix in suffixes))
    if left:
        reason = "; jaxrnn has no projections" if any("weight_hr" in n for n in left) else ""
        raise ValueError(f"{', '.join(sorted(left))}: no part of a {TORCH[cell.name]}{reason}")
    return tuple(stack)


def to_torch(cell: Cell, params: StackParams, prefix: str = "") -> dict[str, np.ndarray]:
    """Make the `state_dict` of a PyTorch recurrent module (with `bias=True`), as NumPy arrays.

    The inverse of `from_torch`. Where PyTorch has two biases and we one (RNN, LSTM), `bias_ih` is
    ours and `bias_hh` zero.

    Args:
        cell: `SimpleRNN`, `LSTM` or `GRU`.
        params: `params[layer][direction]`.
        prefix: what to put before every name.

    Returns:
        Arrays by name: `module.load_state_dict({n: torch.from_numpy(a) for n, a in ...})`.

    Raises:
        ValueError: a cell that PyTorch does not have, weights that are not this cell's.
    """
    row(TORCH, cell, "PyTorch")
    arrays = {}
    for number, layer in enumerate(params):
        for direction, weights in zip(("", "_reverse"), layer, strict=False):
            check_params(cell, weights)
            bh = jnp.zeros_like(weights.bx) if weights.bh is None else weights.bh
            suffix = f"l{number}{direction}"
            arrays[f"weight_ih_{suffix}"] = weights.wx.T
            arrays[f"weight_hh_{suffix}"] = weights.wh.T
            arrays[f"bias_ih_{suffix}"] = weights.bx
            arrays[f"bias_hh_{suffix}"] = bh
    # PyTorch takes over the memory that it is given, and must be able to write to it.
    return {prefix + name: np.array(a, order="C") for name, a in arrays.items()}


def _params(cell: Cell, left: dict[str, Any], suffix: str) -> Params:
    """One direction's weights, taken out of `left`."""
    missing = [n for n in ("weight_ih_", "weight_hh_") if n + suffix not in left]
    if missing:
        raise ValueError(f"no {missing[0]}{suffix} among {', '.join(sorted(left))}")
    wx, wh = array(left.pop(f"weight_ih_{suffix}")).T, array(left.pop(f"weight_hh_{suffix}")).T
    nothing = jnp.zeros(wx.shape[-1], wx.dtype)
    bx, bh = [
        array(left.pop(name)) if name in left else nothing
        for name in (f"bias_ih_{suffix}", f"bias_hh_{suffix}")
    ]
    params = Params(wx, wh, bx, bh) if cell.recurrent_bias else Params(wx, wh, bx + bh)
    check_params(cell, params)
    return params
