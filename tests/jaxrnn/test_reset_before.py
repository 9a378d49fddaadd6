"""The GRU with its reset gate before the product, by the laws of the other cells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import sigmoid
from tables import TOLERANCE, assert_close, in_float64, random_params, random_state, random_xs

import jaxrnn
from jaxrnn import ResetBeforeGRU, diagnose

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LENGTHS = np.array([7, 0, 1, 6, 3, 7])


def alone(params, xs, h, reverse):
    """One sequence in NumPy float64, written from Cho et al. (2014), gate by gate."""
    units, hs = len(h), np.zeros((len(xs), len(h)))
    wx, wh, bx = [np.split(a, 3, axis=-1) for a in (params.wx, params.wh, params.bx)]
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        reset = sigmoid(xs[t] @ wx[0] + h @ wh[0] + bx[0])
        update = sigmoid(xs[t] @ wx[1] + h @ wh[1] + bx[1])
        candidate = np.tanh(xs[t] @ wx[2] + (reset * h) @ wh[2] + bx[2])
        h = hs[t] = update * h + (1 - update) * candidate
    assert hs.shape[1] == units
    return h, hs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reverse", [False, True])
def test_oracle(dtype, reverse):
    """Ragged, each sequence alone; NaN in the padding."""
    with jax.enable_x64(dtype == "float64"):
        params = random_params(ResetBeforeGRU, dtype=dtype)
        state = random_state(ResetBeforeGRU, dtype=dtype)
        valid = np.arange(7)[None, :, None] < LENGTHS[:, None, None]
        xs = jnp.where(valid, random_xs(dtype=dtype), jnp.nan)
        after, hs = jaxrnn.unroll(
            ResetBeforeGRU, params, xs, state, lengths=LENGTHS, reverse=reverse
        )
        assert {str(leaf.dtype) for leaf in (after.h, hs)} == {dtype}
        for b, n in enumerate(LENGTHS):
            h, outputs = alone(
                in_float64(params), np.float64(xs[b, :n]), np.float64(state.h[b]), reverse
            )
            assert_close((after.h[b], hs[b, :n]), (h, outputs), TOLERANCE[dtype])
            np.testing.assert_array_equal(hs[b, n:], 0)


def test_fold_and_initial_weights():
    params, xs = jaxrnn.init(jax.random.key(0), ResetBeforeGRU, 5, 4), random_xs()
    assert params.bh is None
    state, expected = jaxrnn.initial_state(ResetBeforeGRU, params, (6,)), []
    for t in range(7):
        state, h = jaxrnn.step(ResetBeforeGRU, params, state, xs[:, t])
        expected.append(h)
    actual = jaxrnn.unroll(ResetBeforeGRU, params, xs)
    assert_close(actual, (state, jnp.stack(expected, 1)))


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        params = random_params(ResetBeforeGRU, dtype="float64")
        xs = random_xs(batch=(2,), steps=4, dtype="float64")

        @jax.jit
        def loss(params):
            return jnp.sum(jnp.sin(jaxrnn.unroll(ResetBeforeGRU, params, xs)[1]))

        gradient = jax.grad(loss)(params)
        rng = np.random.default_rng(0)
        direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)
        step = 1e-6
        ends = [
            loss(jax.tree.map(lambda p, d: p + s * step * d, params, direction))  # noqa: B023
            for s in (1, -1)
        ]
        dots = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        # Central differences: step^2 and rounding / step, both some 1e-10, of a slope of size 10.
        assert_close((ends[0] - ends[1]) / (2 * step), sum(jax.tree.leaves(dots)), 1e-7)


def test_the_two_places_of_the_gate_are_two_cells():
    """With the same weights they differ; with the reset gate open (r = 1) they are one."""
    params, xs = random_params(ResetBeforeGRU), random_xs()
    run = functools.partial(jaxrnn.unroll, xs=xs)
    bh = jnp.zeros(12)
    after = run(jaxrnn.GRU, params._replace(bh=bh))[1]
    assert float(jnp.abs(run(ResetBeforeGRU, params)[1] - after).max()) > 0.01
    params = params._replace(bx=params.bx.at[:4].set(50.0))
    open_ = run(jaxrnn.GRU, params._replace(bh=bh))
    assert_close(run(ResetBeforeGRU, params), open_)


def test_diagnose_looks_into_it():
    """The probes of `diagnose` widen the weights; the cell takes its own columns."""
    params, xs = random_params(ResetBeforeGRU), random_xs()

    def loss(engine):
        return jnp.sum(jaxrnn.unroll(ResetBeforeGRU, params, xs, engine=engine)[0].h)

    (gradients,) = diagnose.state_gradients(loss)
    np.testing.assert_allclose(gradients.h[:, -1], 1.0, rtol=1e-6)
    assert float(jnp.abs(gradients.h[:, 0]).max()) > 0


def test_its_gates_are_those_that_make_its_states():
    params, xs = random_params(ResetBeforeGRU), random_xs()
    _, hs = jaxrnn.unroll(ResetBeforeGRU, params, xs)
    gates = diagnose.gates(ResetBeforeGRU, params, xs)
    before = jnp.concatenate([jnp.zeros_like(hs[:, :1]), hs[:, :-1]], axis=1)
    assert_close((1 - gates["z"]) * gates["n"] + gates["z"] * before, hs)
    reset = xs @ params.wx[:, :4] + before @ params.wh[:, :4] + params.bx[:4]
    assert_close(gates["r"], jax.nn.sigmoid(reset))
    assert diagnose.saturation(ResetBeforeGRU, params, xs).keys() == {"r", "z", "n"}
