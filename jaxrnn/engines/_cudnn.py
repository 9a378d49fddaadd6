"""Runs NVIDIA's LSTM, the whole sequence in one call of `jax.experimental.rnn`: the cuDNN engine.

It has not been run on a GPU: the code around that call is tested with JAX's own reference in its
place. So nothing chooses this engine: it runs where it is given as `engine=`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import rnn
from jax.sharding import AxisType
from jaxtyping import Array, Bool, Float, Int, Num

from jaxrnn._cells import LSTM, AnyState, Cell, LSTMState, Params
from jaxrnn.engines._protocol import Engine

INSTEAD = "use engine=jaxrnn.engines.scan"


def why_not() -> str:
    """Why the engine cannot be used here; empty when it can."""
    if jax.default_backend() not in ("gpu", "cuda"):
        return f"it runs on NVIDIA GPUs; JAX's default is {jax.default_backend()!r}"
    if getattr(rnn.gpu_rnn, "_cuda_rnn", None) is None:
        return "this jax has no cuDNN; pip install 'jax[cuda]' has"
    return ""


def check(cell: Cell, dtype: Any, resets: Any) -> None:
    """Raise unless cuDNN can run this cell in this dtype here."""
    if cell != LSTM:
        raise ValueError(f"the cudnn engine runs the cell 'lstm', not {cell.name!r}; {INSTEAD}")
    if str(dtype) != "float32":
        raise TypeError(f"the cudnn engine runs float32, not {dtype}; {INSTEAD}")
    if resets is not None:
        raise ValueError(f"the cudnn engine has no resets; {INSTEAD}")
    if why_not():
        raise RuntimeError(f"the cudnn engine cannot run: {why_not()}; {INSTEAD}")


def _cudnn(
    cell: Cell,
    params: Params,
    xs: Num[Array, "*lead D"],
    state: AnyState,
    *,
    lengths: Int[Array, "*batch"] | None,
    resets: Bool[Array, "*lead"] | None,
    reverse: bool,
    batch_major: bool,
) -> tuple[AnyState, Float[Array, "*lead H"]]:
    """Run an LSTM as `engines.scan` does; not yet run on a GPU.

    Products are in TF32 where the GPU has it, unless `jax_default_matmul_precision` is "highest".
    `jax.experimental.rnn` has no rule for `vmap` (give `xs` its batch axes) and none for second
    derivatives.

    Raises:
        ValueError: another cell than `LSTM`; `resets`; a checked `shard_map` or an Explicit mesh.
        TypeError: weights that are not float32; forward-mode differentiation.
        RuntimeError: there is no NVIDIA GPU.
    """
    check(cell, params.wx.dtype, resets)
    if batch_major:
        return _run(params, xs, state, lengths, reverse)
    end, hs = _run(params, jnp.moveaxis(xs, 0, -2), state, lengths, reverse)
    return end, jnp.moveaxis(hs, -2, 0)


# cuDNN is called batch-major, so nothing is moved there and back.
cudnn = Engine("cudnn", _cudnn, batch_major=True, why_not=why_not)


def packed(params: Params) -> Float[Array, " N"]:
    """Lay out the weights as cuDNN wants them, in a row: W_ih [4H, D], W_hh [4H, H], b_ih, b_hh.

    Its gates are i, f, g, o, as here; its second bias would only repeat the first and is zero.
    """
    wx, wh, bx = params.wx, params.wh, params.bx
    return jnp.concatenate([wx.T.reshape(-1), wh.T.reshape(-1), bx, jnp.zeros_like(bx)])


def _run(
    params: Params, xs: Array, state: LSTMState, lengths: Array | None, reverse: bool
) -> tuple[LSTMState, Array]:
    args = (params, xs, state)
    types = [jax.typeof(a) for a in jax.tree.leaves((args, lengths))]
    if any(t.mat.varying or AxisType.Explicit in t.sharding.mesh.axis_types for t in types):
        # JAX knows of its call neither how results vary over a mesh nor how they lie on it.
        raise ValueError(
            "the cudnn engine runs in no checked shard_map and on no Explicit mesh; "
            f"use check_vma=False or Auto axes, or {INSTEAD}"
        )
    if 0 in xs.shape[:-1]:
        return state, jnp.zeros((*xs.shape[:-1], params.wh.shape[0]), state.h.dtype)
    return _jitted(*args, lengths, reverse)


@functools.partial(jax.jit, static_argnames="reverse")
def _jitted(
    params: Params, xs: Array, state: LSTMState, lengths: Array | None, reverse: bool
) -> tuple[LSTMState, Array]:
    *batch, steps, features = xs.shape
    units = params.wh.shape[0]
    xs = xs.astype(params.wx.dtype).reshape(-1, steps, features)
    h, c = (field.reshape(-1, units) for field in state)
    ends = jnp.full(len(xs), steps, jnp.int32) if lengths is None else lengths.reshape(-1)
    valid = (jnp.arange(steps, dtype=jnp.int32) < ends[:, None])[..., None]
    xs = jnp.where(valid, xs, jnp.zeros_like(xs))
    if reverse:
        xs = _flipped(xs, ends)
    # An empty sequence runs one step, whose results are not used: what cuDNN makes of length 0 is
    # documented nowhere.
    hs, h_end, c_end = rnn.lstm(
        xs, h[None], c[None], packed(params), jnp.maximum(ends, 1), features, units,
        1, 0.0, False,
    )  # fmt: skip
    if reverse:
        hs = _flipped(hs, ends)
    hs = jnp.where(valid, hs, jnp.zeros_like(hs))
    empty = ends[:, None] == 0
    end = (jnp.where(empty, h, h_end[0]), jnp.where(empty, c, c_end[0]))
    return LSTMState(*[f.reshape(*batch, units) for f in end]), hs.reshape(*batch, steps, units)


def _flipped(xs: Array, ends: Array) -> Array:
    """Each sequence's valid part [B, T, F] back to front."""
    at = jnp.arange(xs.shape[1], dtype=ends.dtype)
    at = jnp.where(at < ends[:, None], ends[:, None] - 1 - at, at)
    rows = jnp.arange(len(xs), dtype=ends.dtype)[:, None]
    # Declared unique because the gradient is a scatter: one that may collide is slow on a GPU.
    return xs.at[rows, at].get(unique_indices=True, mode="promise_in_bounds")
