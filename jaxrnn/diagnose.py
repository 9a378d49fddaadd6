"""Shows how gradients flow through time: their norm at every step, and which gates saturate.

Everything here works on a model of your own: `unroll` and `unroll_stack` take the engine as an
argument, and any engine can be probed. A probe is a zero that is added to the state after a step,
so that

    d loss / d h_t  =  d loss / d probe_t    at probe = 0

the total derivative: through the output h_t and through all the later steps that h_t acts on.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxrnn._cells import CELLS, AnyState, Cell, Params, pre_activations
from jaxrnn._unroll import unroll
from jaxrnn.engines import Engine, scan

Loss = Callable[[Any], Array]  # engine -> scalar


def state_gradients(
    loss: Loss, *, engine: Engine | Callable[..., Any] | None = None
) -> tuple[AnyState, ...]:
    """The gradient of a loss by every state on the way, in one extra backward pass.

        (d loss / d h_t, d loss / d c_t)    for every step t of every call of `unroll`

    Each field is varied with the others of the same step held still, as they stand in the carry.

    Args:
        loss: `loss(engine)` computes a scalar and passes `engine` to every `unroll` or
            `unroll_stack` that is to be looked at. A sum over sequences, not a mean, keeps each
            sequence's gradient its own. It may use `jit` (`engine` static), and `jit` and `vmap`
            may be applied to all of it; but a `vmap` or `scan` of its own around an `unroll` gives
            one sum over its rounds.
        engine: the engine that is probed, `jaxrnn.engines.scan` when not given.

    Returns:
        For every call of `unroll`, in their order (a stack: layer by layer, forward before
        backward), the cell's state with arrays [..., T, H]: time is second to last, whatever
        `time_major` was. Past a sequence's length they are zero; in reverse, too, step t is
        where it stands in `xs`.

    Raises:
        ValueError: the loss never called the engine.

    >>> import jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, input_size=3, hidden_size=4)
    >>> def loss(engine):
    ...     state, hs = jaxrnn.unroll(jaxrnn.LSTM, params, jnp.ones((2, 5, 3)), engine=engine)
    ...     return jnp.sum(state.h)
    >>> (gradient,) = state_gradients(loss)
    >>> gradient.c.shape, gradient.h[0, -1].tolist()
    ((2, 5, 4), [1.0, 1.0, 1.0, 1.0])
    """
    run = scan if engine is None else engine
    zeros: list[AnyState] = []

    def recording(cell: Cell, params: Params, xs: Array, state: AnyState, **how: Any) -> Any:
        zeros.append(jax.tree.map(lambda a: np.zeros((len(xs), *a.shape), a.dtype), state))
        return run(cell, params, xs, state, **how)

    # Traced only, so that finding out which probes there are costs no computation.
    jax.eval_shape(lambda: loss(recording))
    if not zeros:
        raise ValueError("the loss never called the engine; hand it to `unroll` as engine=")

    def probed_loss(probes: list[AnyState]) -> Array:
        remaining = iter(probes)

        def probing(cell: Cell, params: Params, xs: Array, state: AnyState, **how: Any) -> Any:
            cell, params, xs = _probed(cell), *_widened(cell, params, xs, next(remaining))
            return run(cell, params, xs, state, **how)

        return loss(probing)

    gradients = jax.grad(probed_loss)(zeros)
    return tuple(jax.tree.map(lambda g: jnp.moveaxis(g, 0, -2), g) for g in gradients)


def gradient_norms(
    loss: Loss, *, engine: Engine | Callable[..., Any] | None = None
) -> tuple[AnyState, ...]:
    """How much of a loss's gradient arrives at each step: where it vanishes, where it explodes.

        ||d loss / d h_t||,  ||d loss / d c_t||        Euclidean, over the units

    Each step multiplies the gradient by the transposed Jacobian d h_t / d h_(t-1), so its norm
    shrinks or grows geometrically with the distance (Bengio et al., 1994; Pascanu et al., 2013).

    Arguments, errors and results as of `state_gradients`, but with one number for each sequence
    and step: arrays [..., T].

    >>> import jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.SimpleRNN, input_size=3, hidden_size=4)
    >>> def loss(engine):
    ...     xs = jnp.zeros((2, 5, 3))
    ...     state, hs = jaxrnn.unroll(jaxrnn.SimpleRNN, params, xs, engine=engine)
    ...     return jnp.sum(state.h)
    >>> (norms,) = gradient_norms(loss)      # an orthogonal matrix, no input: nothing is lost
    >>> norms.h.shape, bool(jnp.allclose(norms.h, 2.0))
    ((2, 5), True)
    """
    gradients = state_gradients(loss, engine=engine)
    return jax.tree.map(lambda g: jnp.linalg.norm(g, axis=-1), gradients)


@functools.cache
def _probed(cell: Cell) -> Cell:
    """The cell with a probe in each field of its state, as further blocks of its input.

    So a probed cell is a cell, and padding, resets, direction and engines hold for it as they
    are. Cached, because an engine compiles once for each update function.
    """
    fields = len(cell.state._fields)

    def update(gx: Array, gh: Array, state: AnyState) -> AnyState:
        columns = cell.gates * state.h.shape[-1]
        after = cell.update(gx[..., :columns], gh[..., :columns], state)
        probes = jnp.split(gx[..., columns:], fields, axis=-1)
        return type(after)(*[a + p for a, p in zip(after, probes, strict=True)])

    return dataclasses.replace(cell, gates=cell.gates + fields, update=update)


def _widened(cell: Cell, params: Params, xs: Array, probes: AnyState) -> tuple[Params, Array]:
    """Weights and inputs of `_probed(cell)`: the probes are more features, which reach one block.

    wx' = [[wx, 0], [0, I]],  wh' = [wh, 0],  biases are continued by zeros;  xs' = [xs, probes]
    """
    features, columns = params.wx.shape
    extra = sum(probe.shape[-1] for probe in probes)
    dtype = params.wx.dtype
    more = ((0, 0), (0, extra))
    wide = Params(
        wx=jnp.pad(params.wx, ((0, extra), (0, extra)))
        .at[features:, columns:]
        .set(jnp.eye(extra, dtype=dtype)),
        wh=jnp.pad(params.wh, more),
        bx=jnp.pad(params.bx, more[1:]),
        bh=None if params.bh is None else jnp.pad(params.bh, more[1:]),
    )
    return wide, jnp.concatenate([a.astype(dtype) for a in (xs, *probes)], axis=-1)


class Saturation(NamedTuple):
    """The shares of a gate's activations at its lower and at its upper end, scalars in [0, 1]."""

    low: Float[Array, ""]
    high: Float[Array, ""]


def gates(
    cell: Cell,
    params: Params,
    xs: ArrayLike,
    state: AnyState | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> dict[str, Float[Array, "..."]]:
    """The activation of every gate at every step of a layer.

        LSTM:       i, f, o = sigmoid(gx + gh),  g = tanh(gx + gh)
        GRU:        r, z = sigmoid(gx + gh),     n = tanh(gx + r * gh)
        SimpleRNN:  h = tanh(gx + gh)
        ReLURNN:    h = relu(gx + gh)

    with gx = xs[t] @ wx + bx and gh = h_(t-1) @ wh (+ bh), as the cell computes them.

    Arguments and errors are those of `unroll`.

    Returns:
        Arrays [..., T, H] by the gate's name; NaN past a sequence's length.

    Raises:
        ValueError: a cell whose gates nobody has named, with `activations`.

    >>> import jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, input_size=3, hidden_size=4)
    >>> activations = gates(jaxrnn.LSTM, params, jnp.zeros((2, 5, 3)))
    >>> sorted(activations), activations["f"][0, 0].tolist() == [float(jax.nn.sigmoid(1.0))] * 4
    (['f', 'g', 'i', 'o'], True)
    """
    if cell.activations is None:
        raise ValueError(
            f"the gates of {cell.name} have no names; known are {', '.join(CELLS)}, and any cell "
            "with `activations`"
        )
    xs = jnp.asarray(xs)
    _, hs = unroll(cell, params, xs, state, lengths=lengths, reverse=reverse)
    steps = xs.shape[-2]
    first = jnp.zeros_like(hs[..., :1, :]) if state is None else state.h[..., None, :]
    ends = jnp.full(xs.shape[:-2], steps) if lengths is None else jnp.asarray(lengths)
    at = jnp.arange(steps)[:, None]
    # The state before each step; in reverse the first one meets the last valid step.
    before = jnp.roll(hs, -1 if reverse else 1, axis=-2)
    starts = at == (ends[..., None, None] - 1 if reverse else 0)
    before = jnp.where(starts, first.astype(hs.dtype), before)
    activations = cell.activations(*pre_activations(cell, params, xs, before))
    valid = at < ends[..., None, None]
    return {name: jnp.where(valid, gate, jnp.nan) for name, gate in activations.items()}


def saturation(
    cell: Cell,
    params: Params,
    xs: ArrayLike,
    state: AnyState | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    margin: float = 0.05,
) -> dict[str, Saturation]:
    """The share of each gate's activations that are as good as constant, and pass no gradient.

        sigmoid: low  where  s < margin,         high  where  s > 1 - margin
        tanh:    low  where  t < -(1 - margin),  high  where  t > 1 - margin
        relu:    low  where  r = 0,              high  nowhere: it has no upper end

    over all units and valid steps (Karpathy et al., 2015, with margin 0.1).

    Arguments and errors are those of `gates`, which has the activations themselves.

    >>> import jaxrnn
    >>> params = jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, input_size=3, hidden_size=4)
    >>> shut = params._replace(bx=params.bx.at[4:8].set(-5.0))      # the forget gate
    >>> shares = saturation(jaxrnn.LSTM, shut, jnp.zeros((2, 5, 3)))
    >>> float(shares["f"].low), float(shares["f"].high)
    (1.0, 0.0)
    """
    activations = gates(cell, params, xs, state, lengths=lengths, reverse=reverse)
    shares = {}
    for name, gate in activations.items():
        if name in cell.rectified:
            low, high = gate <= 0, jnp.zeros_like(gate, bool)
        else:
            low = gate < (margin if name in cell.sigmoids else margin - 1)
            high = gate > 1 - margin
        shares[name] = Saturation(low=_share(gate, low), high=_share(gate, high))
    return shares


def _share(gate: Array, where: Array) -> Array:
    return jnp.mean(where.astype(gate.dtype), where=~jnp.isnan(gate))
