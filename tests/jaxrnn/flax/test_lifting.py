"""The arguments with which Flax lifts a cell's variables and random streams into its scan."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tables import assert_close, random_xs

from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

LENGTHS = np.array([7, 0, 1, 6, 3, 7])


def dropout_of(library):
    """Recurrent dropout, as a subclass: one mask for all steps, or one for each."""

    class Dropped(library.OptimizedLSTMCell):
        def __init__(self, *sizes, rngs):
            super().__init__(*sizes, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rng_collection="dropout", rngs=rngs)

        def __call__(self, carry, inputs):
            (c, h), y = super().__call__(carry, inputs)
            return (c, self.dropout(h)), y

    return Dropped(5, 4, rngs=nnx.Rngs(0, dropout=1))


@pytest.mark.parametrize("broadcast_rngs", [None, "dropout"])
def test_recurrent_dropout_of_nnx(broadcast_rngs):
    """The same masks as Flax's, the same at all steps or not, and others at the next call."""
    ours = our_nnx.RNN(dropout_of(our_nnx), broadcast_rngs=broadcast_rngs)
    theirs = nnx.RNN(dropout_of(nnx), broadcast_rngs=broadcast_rngs)
    theirs.cell.dense_h.kernel[...] = ours.cell.dense_h.kernel[...]
    first, second = ours(random_xs()), ours(random_xs())
    assert not np.allclose(first, second)
    assert_close((first, second), (theirs(random_xs()), theirs(random_xs())))
    counts = [int(m.cell.dropout.rngs.count[...]) for m in (ours, theirs)]
    assert counts[0] == counts[1] > 0


class Counting(nnx.Module):
    """A cell with state of its own: the steps that it has seen."""

    in_features = 5
    num_feature_axes = 1

    def __init__(self, rngs):
        self.layer = nnx.Linear(5, 5, rngs=rngs)
        self.steps = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, carry, inputs):
        self.steps[...] += 1
        y = jnp.tanh(self.layer(inputs) + carry) * self.steps[...]
        return y, y

    def initialize_carry(self, input_shape, rngs):
        return jnp.zeros(input_shape)


@pytest.mark.parametrize("state_axes", [None, nnx.StateAxes({nnx.Param: None, ...: nnx.Carry})])
def test_state_of_a_cell_is_carried_through_nnxs_scan(state_axes):
    ours, theirs = [
        library.RNN(Counting(nnx.Rngs(0)), state_axes=state_axes) for library in (our_nnx, nnx)
    ]
    for _ in range(2):
        assert_close(ours(random_xs()), theirs(random_xs()))
    assert float(ours.cell.steps[...]) == float(theirs.cell.steps[...]) == 14


def test_weights_of_every_step_in_nnx():
    """`state_axes` makes the kernels' leading axis time; an engine would not."""

    @nnx.split_rngs(splits=7)
    @nnx.vmap(in_axes=0)
    def cells(rngs):
        return our_nnx.GRUCell(5, 4, rngs=rngs)

    cell = cells(nnx.Rngs(0))
    ours, theirs = [
        library.RNN(cell, state_axes=nnx.StateAxes({nnx.Param: 0, ...: None}))
        for library in (our_nnx, nnx)
    ]
    for reverse in (False, True):
        assert_close(ours(random_xs(), reverse=reverse), theirs(random_xs(), reverse=reverse))


class Dropped(nn.RNNCellBase):
    """Recurrent dropout of Linen, that counts its steps and tells what it dropped."""

    features: int

    @nn.compact
    def __call__(self, carry, inputs):
        steps = self.variable("stats", "steps", lambda: jnp.zeros(()))
        steps.value += 1
        h = nn.Dropout(0.5, deterministic=False)(carry)
        self.sow("intermediates", "dropped", h == 0)
        h = jnp.tanh(nn.Dense(self.features)(inputs) + nn.Dense(self.features)(h))
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.ones((*input_shape[:-1], self.features))

    num_feature_axes = 1


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("unroll", [1, 3])
def test_variables_and_keys_of_linen(every_step, unroll):
    """All four arguments at once: the same masks, steps counted, what was sown stacked."""
    options = {
        "variable_axes": {"intermediates": 0},
        "variable_carry": "stats",
        "split_rngs": {"params": False, "dropout": every_step},
        "unroll": unroll,
    }
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    ours, theirs = [library.RNN(Dropped(4), **options) for library in (our_linen, nn)]
    cell = Dropped(4).init(rngs, jnp.ones((6, 4)), random_xs()[:, 0])
    variables = {name: {"cell": cell[name]} for name in ("params", "stats")}
    results = [
        m.apply(
            variables, random_xs(), rngs={"dropout": jax.random.key(2)},
            mutable=["stats", "intermediates"],
        )
        for m in (ours, theirs)
    ]  # fmt: skip
    assert_close(*results)
    _, state = results[0]
    assert float(state["stats"]["cell"]["steps"]) == 8  # one of them in `init`
    (dropped,) = state["intermediates"]["cell"]["dropped"]
    assert dropped.shape == (7, 6, 4)
    assert bool((dropped == dropped[0]).all()) == (not every_step)


def test_weights_of_every_step_in_linen():
    options = {"variable_axes": {"params": 0}, "variable_broadcast": False}
    options["split_rngs"] = {"params": True}
    ours, theirs = [
        library.RNN(library.GRUCell(4), **options, return_carry=True) for library in (our_linen, nn)
    ]
    variables = ours.init(jax.random.key(0), random_xs())
    assert variables["params"]["cell"]["hn"]["kernel"].shape == (7, 4, 4)
    for reverse in (False, True):
        call = {"reverse": reverse}
        assert_close(
            ours.apply(variables, random_xs(), **call), theirs.apply(variables, random_xs(), **call)
        )


@pytest.mark.parametrize("name", ["SimpleCell", "LSTMCell", "GRUCell"])
def test_a_cell_within_somebodys_scan(name):
    """Of NNX and of Linen; the same numbers as in `RNN`."""
    xs = random_xs()
    cell = getattr(our_nnx, name)(5, 4, rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((6, 5))
    run = nnx.scan(
        lambda cell, carry, x: cell(carry, x),
        in_axes=(None, nnx.Carry, 1), out_axes=(nnx.Carry, 1),
    )  # fmt: skip
    assert_close(run(cell, carry, xs), our_nnx.RNN(cell, return_carry=True)(xs))
    scanned = nn.scan(
        getattr(our_linen, name), variable_broadcast="params", split_rngs={"params": False},
        in_axes=1, out_axes=1,
    )(4)  # fmt: skip
    result, variables = scanned.init_with_output(jax.random.key(0), carry, xs)
    rnn = our_linen.RNN(getattr(our_linen, name)(4), return_carry=True)
    assert_close(result, rnn.apply({"params": {"cell": variables["params"]}}, xs))
