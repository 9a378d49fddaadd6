"""Masks of any pattern: a step that is masked is no step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import assert_close, every_row, random_params, random_state, random_xs

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")

# A hole, padding on the left, padding on the right, every second step, all and nothing.
MASK = np.array(
    [
        [1, 1, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 1, 0, 1, 0, 1, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)
RESETS = np.array([[0, 0, 1, 0, 1, 0, 0]] * 3 + [[0, 1, 1, 0, 1, 1, 0]] * 3, bool)


def looped(cell, params, xs, state, resets, reverse):
    """Step by step, and of a masked one nothing is kept."""
    steps = range(xs.shape[1])
    hs = [None] * xs.shape[1]
    for t in reversed(steps) if reverse else steps:
        after, h = jaxrnn.step(cell, params, state, xs[:, t], reset=resets[:, t])
        now = MASK[:, t, None]
        state = jax.tree.map(lambda a, b, now=now: jnp.where(now, a, b), after, state)
        hs[t] = jnp.where(now, h, 0)
    return state, jnp.stack(hs, 1)


@every_row
@pytest.mark.parametrize("reverse", [False, True])
def test_a_masked_step_is_no_step(cell, engine, reverse):
    """Values and gradients of a loop that keeps the state there; and NaN there reaches nothing."""
    params, state, xs = random_params(cell), random_state(cell), random_xs()

    def run(function, xs):
        def loss(params, xs, state):
            results = function(params, xs, state)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(results)), results

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(params, xs, state)

    expected = run(lambda *args: looped(cell, *args, RESETS, reverse), xs)
    dirty = jnp.where(MASK[..., None], xs, jnp.nan)
    for time_major in (False, True):

        def masked(params, xs, state, time_major=time_major):
            turned = (xs, MASK, RESETS)
            if time_major:
                turned = jnp.moveaxis(xs, 1, 0), MASK.T, RESETS.T
            end, hs = jaxrnn.unroll(
                cell, params, turned[0], state, mask=turned[1], resets=turned[2],
                reverse=reverse, time_major=time_major, engine=engine,
            )  # fmt: skip
            return end, jnp.moveaxis(hs, 0, 1) if time_major else hs

        # float32, over 7 steps: as the laws' own bound for gradients.
        assert_close(run(masked, dirty), expected, 1e-5)


def test_a_stack_takes_a_mask_too():
    """Both directions, resets between the steps that are left: each sequence by itself."""
    cell = jaxrnn.GRU
    params = jaxrnn.init_stack(jax.random.key(0), cell, 5, 4, num_layers=2, bidirectional=True)
    xs = random_xs()
    dirty = jnp.where(MASK[..., None], xs, jnp.nan)
    _, hs = jaxrnn.unroll_stack(cell, params, dirty, mask=MASK, resets=RESETS)
    for row in range(len(xs)):
        left = MASK[row]
        expected = np.zeros((7, 8), np.float32)
        if left.any():
            alone = jaxrnn.unroll_stack(cell, params, xs[row][left], resets=RESETS[row][left])
            expected[left] = alone[1]
        assert_close(hs[row], expected)


def test_under_vmap_and_debug_nans():
    cell, params, xs = jaxrnn.LSTM, random_params(jaxrnn.LSTM), random_xs()
    expected = jaxrnn.unroll(cell, params, xs, mask=MASK)
    each = jax.vmap(lambda xs, mask: jaxrnn.unroll(cell, params, xs, mask=mask))(xs, MASK)
    assert_close(each, expected)
    with jax.debug_nans(True):
        dirty = np.where(MASK[..., None], xs, np.float32("nan"))
        assert_close(jaxrnn.unroll(cell, params, dirty, mask=MASK.astype(np.float32)), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": MASK, "lengths": np.full(6, 2)}, "lengths and mask are both given; give one"),
        ({"mask": MASK[:, :3]}, r"mask has shape \(6, 3\); xs asks for \(6, 7\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    params = random_params(jaxrnn.GRU)
    for run, weights in ((jaxrnn.unroll, params), (jaxrnn.unroll_stack, ((params,),))):
        with pytest.raises(ValueError, match=message):
            run(jaxrnn.GRU, weights, random_xs(), **options)
