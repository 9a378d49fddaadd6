"""What runs in which precision: products in the weights' dtype, gates and states in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import all_cells, assert_close, every_row_once, random_params, random_state, random_xs

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def dtypes(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@pytest.mark.pairs
@every_row_once
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("inputs", ["float32", "bfloat16", "float64", "int32"])
def test_dtypes_of_inputs_weights_and_states(cell, engine, weights, inputs):
    """Any input; states and outputs are float32, or float64 with such weights."""
    if engine is jaxrnn.engines.native and "float16" in weights:  # bfloat16 is one, too
        with pytest.raises(TypeError, match=f"not {weights}; use engine=jaxrnn.engines.scan"):
            jaxrnn.unroll(cell, random_params(cell, dtype=weights), random_xs(), engine=engine)
        engine = None  # which finds one
    wide = "float64" if weights == "float64" else "float32"
    with jax.enable_x64("float64" in (weights, inputs)):
        params, xs = random_params(cell, dtype=weights), random_xs(dtype="float32")
        xs = xs.astype(inputs)
        state = random_state(cell, dtype=weights)
        first = jaxrnn.initial_state(cell, params, (6,))

        @jax.jit
        def answers(params, xs, starts):
            run = functools.partial(jaxrnn.unroll, cell, params, xs, engine=engine)
            return (
                [run(start, lengths=np.full(6, 5)) for start in starts],
                jaxrnn.step(cell, params, first, xs[:, 0]),
                jax.grad(lambda params: jnp.sum(run.func(cell, params, xs, engine=engine)[1]))(
                    params
                ),
            )

        *states, gradient = answers(params, xs, (None, state, first))
        assert dtypes(states) == {wide}
        assert dtypes(gradient) == {weights}


@all_cells
def test_states_keep_their_dtype_through_a_scan_of_steps(cell):
    """The carry of a user's own `lax.scan`, which fails where a dtype changes."""
    for dtype in ("float32", "bfloat16"):
        params, xs = random_params(cell, dtype=dtype), random_xs(dtype=dtype)

        def body(state, x, params=params):
            return jaxrnn.step(cell, params, state, x)

        state = jaxrnn.initial_state(cell, params, (6,))
        ends, hs = jax.lax.scan(body, state, jnp.moveaxis(xs, 1, 0))
        expected = jaxrnn.unroll(cell, params, xs)
        assert dtypes(ends) == dtypes(state) == {"float32"}
        assert_close((ends, jnp.moveaxis(hs, 0, 1)), expected)


@all_cells
def test_bfloat16_products_stay_close_over_200_steps(cell):
    """Against float32 products of the same (rounded) numbers: only the recurrent h is rounded more.

    h within 1e-3 rms of float32; a state in bfloat16 would be off by ten times as much, and is, if
    the state is rounded after every step.
    """
    weights = jaxrnn.init(jax.random.key(0), cell, 32, 64, dtype="bfloat16")
    xs = jax.random.normal(jax.random.key(1), (8, 200, 32), jnp.bfloat16)
    _, hs = jaxrnn.unroll(cell, weights, xs)
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), weights)
    _, expected = jaxrnn.unroll(cell, exact, xs)
    rms = float(jnp.sqrt(jnp.mean((hs - expected) ** 2)))
    assert rms < RMS[cell.name], rms
    assert rms > 1e-5, "nothing was computed in bfloat16"


# The outputs of ReLURNN go above 1, and so does what is rounded.
RMS = {"rnn": 1e-3, "lstm": 1e-3, "gru": 1e-3, "relu_rnn": 2e-3}
