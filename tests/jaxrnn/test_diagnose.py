"""Gradients through time, against finite differences of an independent loop; gate saturation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import STEPS, run_alone, sigmoid
from tables import (
    all_cells,
    assert_close,
    in_float64,
    random_params,
    random_state,
    random_xs,
)

import jaxrnn
from jaxrnn import diagnose

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
RESETS = np.random.default_rng(4).random((6, 7)) < 0.3


def perturbed_loss(name, params, xs, start, resets, reverse, at, field, by):
    """The sines of all outputs and of the last state, with `by` added to a state after step `at`.

    One sequence, alone and without padding.
    """
    state, total, zeros = start, 0.0, tuple(np.zeros_like(f) for f in start)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        if resets is not None and resets[t]:
            state = zeros
        state = list(STEPS[name](params, state, xs[t]))
        if t == at:
            state[field] = state[field] + by
        total += np.sin(state[0]).sum()
    return total + sum(np.sin(f).sum() for f in state)


def finite_differences(name, params, xs, start, lengths, resets, reverse, epsilon=1e-6):
    """d loss / d state_t [field][B, T, H] by central differences, zeros past the lengths."""
    batch, steps, units = *xs.shape[:2], params.wh.shape[0]
    result = np.zeros((len(start), batch, steps, units))
    for field, b in np.ndindex(len(start), batch):
        n = steps if lengths is None else lengths[b]
        row = (params, xs[b, :n], [f[b] for f in start], None if resets is None else resets[b])
        for t, unit in np.ndindex(n, units):
            by = epsilon * np.eye(units)[unit]
            ends = [perturbed_loss(name, *row, reverse, t, field, s * by) for s in (1, -1)]
            result[field, b, t, unit] = (ends[0] - ends[1]) / (2 * epsilon)
    return result


def sines(engine, cell, params, xs, start=None, **how):
    state, hs = jaxrnn.unroll(cell, params, xs, start, engine=engine, **how)
    return sum(jnp.sum(jnp.sin(a)) for a in (*state, hs))


@pytest.mark.pairs
@all_cells
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([5, 0, 3])], ids=["full", "ragged"])
@pytest.mark.parametrize("resets", [None, RESETS[:3, :5]], ids=["", "resets"])
def test_oracle(cell, lengths, resets, reverse):
    """Equals what comes of moving each state a little by hand."""
    with jax.enable_x64(True):
        params = random_params(cell, dtype="float64")
        xs = random_xs(batch=(3,), steps=5, dtype="float64")
        start = random_state(cell, batch=(3,), dtype="float64")
        how = {"lengths": lengths, "resets": resets, "reverse": reverse}
        loss = functools.partial(sines, cell=cell, params=params, xs=xs, start=start, **how)
        (actual,) = diagnose.state_gradients(loss)
        (norms,) = diagnose.gradient_norms(loss)
        plain = in_float64((params, xs, start))
    expected = finite_differences(cell.name, *plain, lengths, resets, reverse)
    assert type(actual) is type(norms) is cell.state
    # Central differences of step 1e-6 in float64: 1e-10 of rounding on sums of size 10.
    np.testing.assert_allclose(np.stack(actual), expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.stack(norms), np.sqrt((expected**2).sum(-1)), rtol=0, atol=1e-8)
    if lengths is not None:
        for b, n in enumerate(lengths):
            assert not np.any(np.stack(actual)[:, b, n:])


@all_cells
def test_probing_does_not_change_the_loss(cell):
    """What the probed engine computes is what the engine computes."""
    params, xs, result = random_params(cell), random_xs(), []

    def loss(engine):
        value = sines(engine, cell, params, xs, lengths=LENGTHS)
        jax.debug.callback(result.append, value)
        return value

    diagnose.state_gradients(loss)
    jax.effects_barrier()
    assert_close(result, [sines(None, cell, params, xs, lengths=LENGTHS)])


@all_cells
@pytest.mark.parametrize("time_major", [False, True])
def test_any_layout_and_any_number_of_batch_axes(cell, time_major):
    params, xs = random_params(cell), random_xs(batch=(2, 3))
    flat = functools.partial(sines, cell=cell, params=params, xs=xs.reshape(6, 7, 5))
    (expected,) = diagnose.gradient_norms(flat)
    given = jnp.moveaxis(xs, -2, 0) if time_major else xs
    deep = functools.partial(sines, cell=cell, params=params, xs=given, time_major=time_major)
    (actual,) = diagnose.gradient_norms(deep)
    assert_close(jax.tree.map(lambda a: a.reshape(6, 7), actual), expected)
    (alone,) = diagnose.gradient_norms(
        functools.partial(sines, cell=cell, params=params, xs=xs[1, 2])
    )
    assert_close(alone, jax.tree.map(lambda a: a[5], expected))


@all_cells
def test_transforms(cell):
    """Under jit, under vmap, and with a jit in the model that takes the engine as static."""
    params, xs = random_params(cell), random_xs()

    def norms(params, xs, lengths):
        return diagnose.gradient_norms(
            functools.partial(sines, cell=cell, params=params, xs=xs, lengths=lengths)
        )

    args = params, xs, jnp.asarray(LENGTHS)
    expected = norms(*args)
    assert_close(jax.jit(norms)(*args), expected)
    assert_close(jax.vmap(norms, in_axes=(None, 0, 0))(*args), expected)

    @functools.partial(jax.jit, static_argnames="engine")
    def model(params, xs, lengths, engine):
        return sines(engine, cell, params, xs, lengths=lengths)

    for _ in range(2):  # the second finds what the first has compiled
        assert_close(diagnose.gradient_norms(lambda e: model(*args, engine=e)), expected)
    assert_close(
        diagnose.gradient_norms(lambda e: jax.checkpoint(lambda p: sines(
            e, cell, p, xs, lengths=args[2]))(params)), expected,
    )  # fmt: skip


@all_cells
def test_a_stack_gives_its_layers_in_order(cell):
    """Layer by layer, forward before backward: each of its own width, and as found one by one."""
    bottom = [random_params(cell, seed, inputs=5, units=4) for seed in (0, 1)]
    top = [random_params(cell, seed, inputs=8, units=3) for seed in (2, 3)]
    xs, stack = random_xs(), ((*bottom,), (*top,))

    def loss(engine):
        _, hs = jaxrnn.unroll_stack(cell, stack, xs, lengths=LENGTHS, engine=engine)
        return jnp.sum(jnp.sin(hs))

    result = diagnose.state_gradients(loss)
    assert [state.h.shape for state in result] == [(6, 7, 4)] * 2 + [(6, 7, 3)] * 2

    # The top layer alone, fed with the outputs of the one below; then the last direction only.
    _, middle = jaxrnn.unroll_stack(cell, stack[:1], xs, lengths=LENGTHS)
    for number, reverse in ((2, False), (3, True)):

        def one(engine, number=number, reverse=reverse):
            _, hs = jaxrnn.unroll(cell, stack[1][number - 2], middle, lengths=LENGTHS,
                                  reverse=reverse, engine=engine)  # fmt: skip
            return jnp.sum(jnp.sin(hs))

        assert_close(result[number], diagnose.state_gradients(one)[0])
    assert not np.allclose(result[0].h, result[1].h)


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 1.1, 2.0])
def test_a_nearly_linear_network_shrinks_or_grows_by_its_matrix(scale):
    """With wh = a I and tiny inputs, h' = a h + x: the norm changes by exactly a at each step."""
    params = jaxrnn.Params(jnp.eye(4), scale * jnp.eye(4), jnp.zeros(4))
    xs = 1e-9 * random_xs(inputs=4)

    def loss(engine):
        state, _ = jaxrnn.unroll(jaxrnn.SimpleRNN, params, xs, engine=engine)
        return jnp.sum(state.h)

    (norms,) = diagnose.gradient_norms(loss)
    np.testing.assert_allclose(norms.h[:, -1], 2.0, rtol=1e-6)
    np.testing.assert_allclose(norms.h[:, :-1] / norms.h[:, 1:], scale, rtol=1e-6)


def test_a_cell_of_ones_own():
    """A leaky cell: nothing is known about it but its update."""

    def update(gx, gh, state):
        return jaxrnn.State(0.75 * state.h + 0.0 * (gx + gh))

    leaky = jaxrnn.Cell("leaky", gates=1, state=jaxrnn.State, update=update)
    params = random_params(leaky)

    def loss(engine):
        state, _ = jaxrnn.unroll(leaky, params, random_xs(), engine=engine)
        return jnp.sum(state.h)

    (norms,) = diagnose.gradient_norms(loss)
    np.testing.assert_allclose(norms.h, 2 * 0.75 ** np.arange(6, -1, -1)[None].repeat(6, 0), 1e-6)


@all_cells
def test_sixteen_bits(cell):
    params, xs = random_params(cell, dtype="bfloat16"), random_xs(dtype="bfloat16")
    (norms,) = diagnose.gradient_norms(functools.partial(sines, cell=cell, params=params, xs=xs))
    wide = jax.tree.map(lambda a: a.astype("float32"), (params, xs))
    (expected,) = diagnose.gradient_norms(
        functools.partial(sines, cell=cell, params=wide[0], xs=wide[1])
    )
    # Eight bits, over seven steps.
    assert_close(norms, expected, 0.1)


def test_a_loss_without_the_engine_is_refused():
    params, xs = random_params(jaxrnn.GRU), random_xs()
    with pytest.raises(ValueError, match="never called the engine"):
        diagnose.gradient_norms(lambda engine: sines(None, jaxrnn.GRU, params, xs))


# --- gates -----------------------------------------------------------------------------------


def oracle_gates(name, params, state, x):
    """Each gate by itself, from the papers."""
    units, h = len(state[0]), state[0]
    blocks = [slice(k * units, (k + 1) * units) for k in range(params.wh.shape[1] // units)]
    gx = [x @ params.wx[:, b] + params.bx[b] for b in blocks]
    gh = [h @ params.wh[:, b] + (0 if params.bh is None else params.bh[b]) for b in blocks]
    if name == "rnn":
        return {"h": np.tanh(gx[0] + gh[0])}
    if name == "relu_rnn":
        return {"h": np.maximum(gx[0] + gh[0], 0)}
    if name == "lstm":
        squash = {"i": sigmoid, "f": sigmoid, "g": np.tanh, "o": sigmoid}
        return {k: f(gx[n] + gh[n]) for n, (k, f) in enumerate(squash.items())}
    r = sigmoid(gx[0] + gh[0])
    return {"r": r, "z": sigmoid(gx[1] + gh[1]), "n": np.tanh(gx[2] + r * gh[2])}


@all_cells
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("given", [False, True], ids=["", "state"])
def test_gates_are_those_of_the_papers(cell, lengths, reverse, given):
    params, xs, start = random_params(cell), random_xs(), random_state(cell)
    if not given:
        start = jax.tree.map(jnp.zeros_like, start)
    result = diagnose.gates(
        cell, params, xs, start if given else None, lengths=lengths, reverse=reverse
    )
    params, xs, start = in_float64((params, xs, start))
    for b in range(6):
        n = 7 if lengths is None else lengths[b]
        state = tuple(field[b] for field in start)
        for t in reversed(range(n)) if reverse else range(n):
            expected = oracle_gates(cell.name, params, state, xs[b, t])
            assert result.keys() == expected.keys()
            assert_close({k: v[b, t] for k, v in result.items()}, expected)
            state, _ = run_alone(cell.name, params, xs[b, t : t + 1], state)
        for gate in result.values():
            assert np.isnan(gate[b, n:]).all()


@all_cells
def test_saturation_counts_each_end_over_valid_steps(cell):
    """Shares by counting, with ragged lengths and junk in the padding."""
    params = jax.tree.map(lambda a: 4 * a, random_params(cell))
    xs = jnp.where(np.arange(7)[None, :, None] < LENGTHS[:, None, None], random_xs(), jnp.nan)
    result = diagnose.saturation(cell, params, xs, lengths=LENGTHS)
    activations = diagnose.gates(cell, params, xs, lengths=LENGTHS)
    for name, gate in activations.items():
        values = np.concatenate([np.ravel(gate[b, :n]) for b, n in enumerate(LENGTHS)])
        bottom = -1 if name in "hgn" else 0
        low, high = np.mean(values < bottom + 0.05), np.mean(values > 0.95)
        if cell is jaxrnn.ReLURNN:  # off, or anywhere above
            low, high = np.mean(values == 0), 0
        assert_close(result[name], diagnose.Saturation(low, high))
        assert 0.05 < low < 0.95, "the case must have something to count"
    wider = diagnose.saturation(cell, params, xs, lengths=LENGTHS, margin=0.2)
    if cell is jaxrnn.ReLURNN:
        assert_close(wider, result)
    else:
        assert all(wider[k].low + wider[k].high > v.low + v.high for k, v in result.items())


def test_gates_without_names_are_refused():
    cell = dataclasses.replace(jaxrnn.GRU, name="mine", activations=None)
    with pytest.raises(ValueError, match="gates of mine have no names; known are rnn, lstm, gru"):
        diagnose.saturation(cell, random_params(cell), random_xs())
