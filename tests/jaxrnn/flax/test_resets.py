"""Resets of `RNN` and `Bidirectional`, and `ScannedRNN` for programs of reinforcement learning."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fronts import BIDIRECTIONAL, FRONTS, as_carry, as_tuple
from tables import assert_close, every_cell, random_state, random_xs

import jaxrnn
from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
RESETS = np.random.default_rng(4).random((6, 7)) < 0.3
every_front = pytest.mark.parametrize("front", FRONTS)


@pytest.mark.pairs
@every_front
@every_cell
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("reverse", [False, True])
def test_resets_are_those_of_unroll(front, cell, time_major, lengths, reverse):
    modules, xs, start = FRONTS[front](cell), random_xs(), random_state(cell)
    across = (lambda a: jnp.moveaxis(a, 1, 0)) if time_major else (lambda a: a)
    carry, hs = modules.ours(
        across(xs), initial_carry=as_carry(cell, start), seq_lengths=lengths,
        resets=across(jnp.asarray(RESETS, jnp.float32)), time_major=time_major,
        reverse=reverse, keep_order=True, return_carry=True,
    )  # fmt: skip
    state, expected = jaxrnn.unroll(
        cell, modules.params, xs, start, lengths=lengths, resets=RESETS, reverse=reverse
    )
    assert_close((as_tuple(cell, carry), across(hs)), (tuple(state), expected))
    kept = modules.ours(
        across(xs), initial_carry=as_carry(cell, start), seq_lengths=lengths,
        time_major=time_major, reverse=reverse, keep_order=True,
    )  # fmt: skip
    assert not np.allclose(kept, hs)


@every_front
@every_cell
@pytest.mark.parametrize("time_major", [False, True])
def test_resets_of_both_directions_are_those_of_a_stack(front, cell, time_major):
    modules = BIDIRECTIONAL[front](cell, return_carry=True)
    across = (lambda a: jnp.moveaxis(a, 1, 0)) if time_major else (lambda a: a)
    starts = tuple(random_state(cell, seed) for seed in (2, 3))
    carries, hs = modules.ours(
        across(random_xs()), resets=across(jnp.asarray(RESETS)), seq_lengths=LENGTHS,
        time_major=time_major, initial_carry=tuple(as_carry(cell, s) for s in starts),
    )  # fmt: skip
    (states,), expected = jaxrnn.unroll_stack(
        cell, (tuple(modules.params),), random_xs(), (starts,), lengths=LENGTHS, resets=RESETS
    )
    assert_close(across(hs), expected)
    assert_close([as_tuple(cell, c) for c in carries], [tuple(s) for s in states])
    call = {"resets": across(jnp.asarray(RESETS)), "time_major": time_major}
    merged = modules.ours(across(random_xs()), **call, return_carry=False)
    assert_close(merged, modules.ours(across(random_xs()), **call)[1], 0)


@every_front
@pytest.mark.parametrize("name", ["reverse", "keep_order"])
def test_both_directions_refuse_to_be_turned(front, name):
    run = BIDIRECTIONAL[front](jaxrnn.GRU).ours
    with pytest.raises(ValueError, match=f"{name} is True; Bidirectional runs both directions"):
        run(random_xs(), **{name: True})
    with pytest.raises(TypeError, match="seq_length"):
        run(random_xs(), seq_length=LENGTHS, resets=RESETS)


@every_front
def test_resets_of_another_shape_are_refused(front):
    with pytest.raises(ValueError, match=r"resets has shape \(6,\); \w+ asks? for \(6, 7\)"):
        FRONTS[front](jaxrnn.GRU).ours(random_xs(), resets=np.zeros(6))


def test_a_drawn_carry_is_what_a_reset_returns_to():
    cell = our_linen.LSTMCell(4, carry_init=nn.initializers.normal(1.0))
    rnn = our_linen.RNN(cell, return_carry=True)
    variables = rnn.init(jax.random.key(0), random_xs())
    key = jax.random.key(3)
    resets = jnp.zeros((6, 7)).at[:, 4].set(1)
    carry, hs = rnn.apply(variables, random_xs(), resets=resets, init_key=key)
    end, expected = rnn.apply(variables, random_xs()[:, 4:], init_key=key)
    assert_close((carry, hs[:, 4:]), (end, expected))


# --- ScannedRNN -------------------------------------------------------------------------------


class Written(nn.Module):
    """The module that such programs write by hand."""

    cell: type = nn.GRUCell

    @nn.compact
    def __call__(self, carry, inputs):
        xs, resets = inputs
        units = jax.tree.leaves(carry)[0].shape[-1]

        def step(cell, carry, now):
            x, reset = now
            first = cell.initialize_carry(jax.random.key(0), (x.shape[0], units))
            carry = jax.tree.map(lambda a, b: jnp.where(reset[:, None], a, b), first, carry)
            return cell(carry, x)

        run = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return run(self.cell(features=units), carry, (xs, resets))


@pytest.mark.parametrize("cell", ["GRUCell", "LSTMCell", "SimpleCell", "OptimizedLSTMCell"])
def test_scanned_rnn_is_what_programs_write_by_hand(cell):
    """With its parameters by name, its fresh values, its outputs and its gradient."""
    ours, theirs = our_linen.ScannedRNN(getattr(our_linen, cell)), Written(getattr(nn, cell))
    carry = our_linen.ScannedRNN.initialize_carry(6, 4, getattr(our_linen, cell))
    carry = jax.tree.map(lambda a: a + 0.5, carry)
    inputs = jnp.moveaxis(random_xs(), 1, 0), jnp.asarray(RESETS.T, jnp.float32)
    variables = ours.init(jax.random.key(0), carry, inputs)
    expected = theirs.init(jax.random.key(0), carry, (inputs[0], inputs[1] != 0))
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)

    def loss(module, variables, carry, resets):
        end, hs = module.apply(variables, carry, (inputs[0], resets))
        return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((end, hs))), hs

    results = [
        jax.value_and_grad(lambda v, c, m=m, r=r: loss(m, v, c, r), (0, 1), has_aux=True)(
            variables, carry
        )
        for m, r in ((ours, inputs[1]), (theirs, inputs[1] != 0))
    ]
    assert_close(results[0], results[1], 1e-5)


def test_scanned_rnn_is_a_gru_when_nothing_is_said():
    carry = our_linen.ScannedRNN.initialize_carry(6, 4)
    inputs = jnp.moveaxis(random_xs(), 1, 0), jnp.zeros((7, 6), jnp.bool_)
    variables = our_linen.ScannedRNN().init(jax.random.key(0), carry, inputs)
    assert list(variables["params"]) == ["GRUCell_0"]
    assert variables["params"]["GRUCell_0"]["hn"]["kernel"].shape == (4, 4)


@every_cell
def test_scanned_rnn_of_nnx(cell):
    modules = FRONTS["nnx"](cell)
    scanned = our_nnx.ScannedRNN(modules.ours.cell)
    carry = jax.tree.map(lambda a: a + 0.5, scanned.initialize_carry(6))
    inputs = jnp.moveaxis(random_xs(), 1, 0), jnp.asarray(RESETS.T, jnp.int32)
    end, hs = scanned(carry, inputs)
    expected = modules.ours(random_xs(), initial_carry=carry, resets=RESETS, return_carry=True)
    assert_close((end, jnp.moveaxis(hs, 0, 1)), expected)
    resets = jnp.ones((7, 6))
    again = scanned(carry, (inputs[0], resets))
    zeros = scanned(jax.tree.map(jnp.zeros_like, carry), (inputs[0], resets))
    assert_close(again, zeros, 0)


@every_front
@every_cell
def test_first_carries_are_arrays_of_their_own(front, cell):
    """So that a program may donate them."""
    if front == "nnx":
        rnn = FRONTS[front](cell).ours
        carry = rnn.cell.initialize_carry((6, 5))
    else:
        rnn = FRONTS[front](cell).ours
        name = type(rnn.func.__self__.cell).__name__
        carry = getattr(our_linen, name)(4).initialize_carry(jax.random.key(0), (6, 5))
    leaves = jax.tree.leaves(carry)
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
    expected = rnn(random_xs(), return_carry=True)
    run = jax.jit(
        lambda carry: rnn(random_xs(), initial_carry=carry, return_carry=True), donate_argnums=0
    )
    assert_close(run(carry), expected)
    assert all(leaf.is_deleted() for leaf in leaves)
    again, _ = rnn(random_xs(), return_carry=True, seq_lengths=np.zeros(6, int))
    assert len({leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(again)}) == len(leaves)
