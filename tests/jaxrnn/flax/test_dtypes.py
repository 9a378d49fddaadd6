"""Outputs and carries have the dtypes of Flax's: in a step, under `lax.scan` and in `RNN`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tables import assert_close, random_xs

from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

CELLS = ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")
DTYPES = ("float32", "bfloat16", "float16")
# 8 bits of bfloat16, 11 of float16, over 7 steps; ours rounds once, at the end.
TOLERANCE = {"float32": 2e-6, "float16": 5e-3, "bfloat16": 4e-2}
every_class = pytest.mark.parametrize("name", CELLS)
every_dtype = pytest.mark.parametrize(
    ("dtype", "param_dtype", "given"),
    [row for row in itertools.product((None, *DTYPES), DTYPES, DTYPES) if "float16" in row or
     "bfloat16" in row],
)  # fmt: skip


def nnx_pair(name, dtype, param_dtype):
    ours = getattr(our_nnx, name)(5, 4, dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0))
    theirs = getattr(nnx, name)(
        5, 4, dtype=dtype, param_dtype=param_dtype, rngs=nnx.Rngs(0),
        recurrent_kernel_init=nnx.initializers.normal(0.5),
    )  # fmt: skip
    nnx.update(theirs, nnx.state(ours))
    return ours, theirs


def dtypes(tree):
    return jax.tree.map(lambda a: str(a.dtype), tree)


@pytest.mark.pairs
@every_class
@every_dtype
def test_rnn_of_nnx(name, dtype, param_dtype, given):
    """Where Flax's own loop runs: its carry may not change its dtype in it."""
    ours, theirs = nnx_pair(name, dtype, param_dtype)
    xs = random_xs().astype(given)
    actual = our_nnx.RNN(ours, return_carry=True)(xs)
    carry = theirs.initialize_carry((6, 5), nnx.Rngs(0))
    after, _ = theirs(carry, xs[:, 0])
    if dtypes(after) != dtypes(carry):
        assert dtypes(actual) == dtypes(theirs(after, xs[:, 0]))
        return
    expected = nnx.RNN(theirs, return_carry=True)(xs)
    assert dtypes(actual) == dtypes(expected)
    coarsest = max(TOLERANCE[str(a)] for a in (dtype or given, given, param_dtype))
    assert_close(*jax.tree.map(lambda a: np.asarray(a, np.float32), (actual, expected)), coarsest)


@every_class
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("front", ["nnx", "linen"])
def test_a_16_bit_carry_of_ones_own_under_lax_scan_and_in_rnn(front, name, dtype):
    """Which in all 16-bit cells is the whole carry: nothing is float32 any more."""
    xs, zeros = random_xs().astype(dtype), jnp.zeros((6, 4), dtype)
    carry = (zeros, zeros) if "LSTM" in name else zeros
    if front == "nnx":
        cell = getattr(our_nnx, name)(5, 4, dtype=dtype, rngs=nnx.Rngs(0))
        step, run = cell, our_nnx.RNN(cell, return_carry=True)
    else:
        cell = getattr(our_linen, name)(4, dtype=dtype)
        variables = cell.init(jax.random.key(0), carry, xs[:, 0])
        rnn = our_linen.RNN(cell, return_carry=True)
        step = lambda c, x: cell.apply(variables, c, x)  # noqa: E731
        run = lambda xs, **call: rnn.apply(  # noqa: E731
            {"params": {"cell": variables["params"]}}, xs, **call
        )
    after, outputs = jax.lax.scan(step, carry, jnp.moveaxis(xs, 1, 0))
    assert set(jax.tree.leaves(dtypes((after, outputs)))) == {dtype}
    actual = run(xs, initial_carry=carry)
    assert set(jax.tree.leaves(dtypes(actual))) == {dtype}
    expected = after, jnp.moveaxis(outputs, 0, 1)
    assert_close(
        *jax.tree.map(lambda a: np.asarray(a, np.float32), (actual, expected)), TOLERANCE[dtype]
    )


@every_class
def test_float64_throughout(name):
    with jax.enable_x64(True):
        ours, theirs = nnx_pair(name, jnp.float64, jnp.float64)
        xs = random_xs(dtype="float64")
        actual = our_nnx.RNN(ours, return_carry=True)(xs)
        assert set(jax.tree.leaves(dtypes(actual))) == {"float64"}
        assert_close(actual, nnx.RNN(theirs, return_carry=True)(xs), 1e-13)


@every_class
def test_gradients_have_the_dtypes_of_the_parameters(name):
    cell = getattr(our_linen, name)(4, dtype=jnp.bfloat16)
    rnn = our_linen.RNN(cell)
    variables = rnn.init(jax.random.key(0), random_xs())
    gradient = jax.grad(lambda v: jnp.sum(rnn.apply(v, random_xs()).astype(jnp.float32)))(variables)
    assert set(jax.tree.leaves(dtypes(gradient))) == {"float32"}
