"""Computes recurrent layers as NumPy float64 loops over time and gates, written from the papers.

Slow, and independent of the library: each gate is its own product, each sequence runs alone.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _gate(params, number, units):
    """One gate's own matrices and biases out of the packed ones."""
    columns = slice(number * units, (number + 1) * units)
    bh = np.zeros(units) if params.bh is None else params.bh[columns]
    return params.wx[:, columns], params.wh[:, columns], params.bx[columns], bh


def rnn_step(params, state, x):
    """Elman (1990): the state is a tuple (h,)."""
    (h,) = state
    wx, wh, bx, _ = _gate(params, 0, len(h))
    return (np.tanh(x @ wx + h @ wh + bx),)


def relu_rnn_step(params, state, x):
    """Le et al. (2015): the state is a tuple (h,)."""
    (h,) = state
    wx, wh, bx, _ = _gate(params, 0, len(h))
    return (np.maximum(x @ wx + h @ wh + bx, 0),)


def lstm_step(params, state, x):
    """Hochreiter and Schmidhuber (1997) with Gers's forget gate: the state is (h, c)."""
    h, c = state
    gate = []
    for number in range(4):
        wx, wh, bx, _ = _gate(params, number, len(h))
        gate.append(x @ wx + h @ wh + bx)
    input_gate, forget_gate, candidate, output_gate = gate
    c = sigmoid(forget_gate) * c + sigmoid(input_gate) * np.tanh(candidate)
    return sigmoid(output_gate) * np.tanh(c), c


def gru_step(params, state, x):
    """Cho et al. (2014) with the reset gate after the product (cuDNN): the state is (h,)."""
    (h,) = state
    wx, wh, bx, bh = _gate(params, 0, len(h))
    reset = sigmoid(x @ wx + bx + h @ wh + bh)
    wx, wh, bx, bh = _gate(params, 1, len(h))
    update = sigmoid(x @ wx + bx + h @ wh + bh)
    wx, wh, bx, bh = _gate(params, 2, len(h))
    candidate = np.tanh(x @ wx + bx + reset * (h @ wh + bh))
    return (update * h + (1 - update) * candidate,)


STEPS = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step, "relu_rnn": relu_rnn_step}


def run_alone(name, params, xs, state=None, resets=None, reverse=False):
    """One sequence xs [T, D] without padding: the final state, a tuple of [H], and hs [T, H]."""
    units = params.wh.shape[0]
    zeros = tuple(np.zeros(units) for _ in range(2 if name == "lstm" else 1))
    state = zeros if state is None else tuple(state)
    hs = np.zeros((len(xs), units))
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        if resets is not None and resets[t]:
            state = zeros
        state = STEPS[name](params, state, xs[t])
        hs[t] = state[0]
    return state, hs


def run_batch(name, params, xs, state=None, lengths=None, resets=None, reverse=False):
    """A batch xs [B, T, D], each sequence alone and cut to its length, put back into zeros."""
    finals, hs = [], np.zeros((*xs.shape[:2], params.wh.shape[0]))
    for b in range(len(xs)):
        n = xs.shape[1] if lengths is None else lengths[b]
        final, hs[b, :n] = run_alone(
            name,
            params,
            xs[b, :n],
            None if state is None else [field[b] for field in state],
            None if resets is None else resets[b, :n],
            reverse,
        )
        finals.append(final)
    return tuple(np.stack(field) for field in zip(*finals, strict=True)), hs
