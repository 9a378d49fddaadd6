"""The training step: a loss that is a mean, padding rows without weight, keys from the step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from small_models import examples
from tables import assert_close, every_cell

import jaxrnn
from experiments.models import classifier
from experiments.training.step import (
    Totals,
    cross_entropy,
    make_optimizer,
    make_schedule,
    make_steps,
    predicted,
)


def setup(cell=jaxrnn.GRU, *, dropout=0.0, optimizer=None, seed=0, units=4, **options):
    model = classifier.Classifier(
        cell, vocabulary=20, features=5, units=units, dropout=dropout, rngs=nnx.Rngs(seed)
    )
    graphdef, params = nnx.split(model)
    steps = make_steps(graphdef, optimizer or optax.sgd(0.1), jax.random.key(1), **options)
    return steps, params, graphdef


def digest(tree):
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))


def test_cross_entropy_equals_its_definition():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (50, 1)), rng.integers(0, 2, 50)
    p = 1 / (1 + np.exp(-logits[:, 0]))
    expected = -np.log(np.where(labels == 1, p, 1 - p))
    assert_close(cross_entropy(jnp.float32(logits), jnp.int32(labels)), expected, 1e-5)
    logits, labels = rng.normal(0, 3, (50, 10)), rng.integers(0, 10, 50)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(softmax[np.arange(50), labels])
    assert_close(cross_entropy(jnp.float32(logits), jnp.int32(labels)), expected, 1e-5)
    np.testing.assert_array_equal(predicted(jnp.float32(logits)), softmax.argmax(1))


def test_large_logits_lose_nothing():
    """Where sigmoid rounds to 0 or 1, the loss is still the logit."""
    assert_close(
        cross_entropy(jnp.array([[200.0], [-200.0]]), jnp.array([0, 1])), np.full(2, 200.0)
    )


def test_label_smoothing_equals_its_definition():
    """Against a target of 1 - s + s/C for the label and s/C for the others, by hand."""
    rng = np.random.default_rng(0)
    for classes, columns in ((2, 1), (10, 10)):
        logits, labels = rng.normal(0, 3, (50, columns)), rng.integers(0, classes, 50)
        scores = np.concatenate([np.zeros((50, 1)), logits], 1) if columns == 1 else logits
        log_softmax = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        target = np.eye(classes)[labels] * 0.9 + 0.1 / classes
        expected = -(target * log_softmax).sum(1)
        actual = cross_entropy(jnp.float32(logits), jnp.int32(labels), 0.1)
        assert_close(actual, expected, 1e-5)


def test_smoothing_acts_in_training_only():
    plain, smooth = (setup(smoothing=s, optimizer=optax.sgd(0.1)) for s in (0.0, 0.3))
    copy = [jax.tree.map(jnp.copy, params) for _, params, _ in (plain, smooth)]
    reported, moved = [], []
    for (steps, params, _), start in zip((plain, smooth), copy, strict=True):
        state, report = steps.train(steps.init(start), examples())
        reported.append([report.totals, steps.evaluate(params, examples())])
        moved.append(np.asarray(state.params["dense"]["bias"][...]))
    assert_close(reported[0], reported[1])  # what is shown is the plain cross-entropy
    assert not np.allclose(moved[0], moved[1])


def test_sigmoid_twice_is_that_and_cannot_fall_below_its_bound():
    """By hand: p = sigmoid(sigmoid(z)); right or wrong is still decided by z."""
    steps, params, graphdef = setup(sigmoid_twice=True)
    batch = examples(200)
    z = np.asarray(nnx.merge(graphdef, params)(batch.inputs, batch.lengths), np.float64)[:, 0]
    p = 1 / (1 + np.exp(-1 / (1 + np.exp(-z))))
    sums = steps.evaluate(params, batch)
    expected = -np.log(np.where(batch.labels == 1, p, 1 - p)).sum()
    np.testing.assert_allclose(sums.loss, expected, rtol=1e-5)  # a float32 sum of 200
    assert float(sums.correct) == ((z > 0) == batch.labels).sum()
    perfect = cross_entropy(jax.nn.sigmoid(jnp.array([[1e3], [-1e3]])), jnp.array([1, 0]))
    np.testing.assert_allclose(perfect.mean(), 0.5032, atol=1e-4)


def test_the_average_follows_the_parameters_with_its_decay():
    steps, params, _ = setup(average=0.9)
    state = steps.init(params)
    expected = np.asarray(params["dense"]["kernel"][...], np.float64)
    np.testing.assert_array_equal(state.evaluated["dense"]["kernel"][...], np.float32(expected))
    for step in range(120):
        state, _ = steps.train(state, examples())
        share = max(0.1, 9 / (10 + step))
        expected += share * (np.asarray(state.params["dense"]["kernel"][...]) - expected)
    assert_close(state.evaluated["dense"]["kernel"][...], expected, 1e-5)  # 120 roundings
    assert not np.allclose(
        state.evaluated["dense"]["kernel"][...], state.params["dense"]["kernel"][...]
    )


@every_cell
def test_one_step_is_gradient_descent_on_the_mean_loss(cell):
    steps, params, graphdef = setup(cell)
    batch = examples()

    def mean_loss(params):
        logits = nnx.merge(graphdef, params)(batch.inputs, batch.lengths)
        return jnp.mean(cross_entropy(logits, jnp.asarray(batch.labels)))

    gradient = jax.grad(mean_loss)(params)
    expected = jax.tree.leaves(jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient))
    state, (sums, norm, finite) = steps.train(steps.init(jax.tree.map(jnp.copy, params)), batch)
    assert_close(jax.tree.leaves(state.params), expected)
    assert_close(sums.loss / sums.weight, mean_loss(params), 1e-5)
    squares = sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(norm, np.sqrt(squares), rtol=1e-5)  # float32 sums of 200 squares
    np.testing.assert_array_equal(state.norms, norm)
    assert bool(finite)
    assert (int(state.step), int(state.skipped)) == (1, 0)


@every_cell
def test_rows_without_weight_have_no_effect(cell):
    steps, params, _ = setup(cell)
    copy = lambda: steps.init(jax.tree.map(jnp.copy, params))  # noqa: E731
    state, report = steps.train(copy(), examples())
    filled, filled_report = steps.train(copy(), examples(filler=5))
    assert_close(jax.tree.leaves(filled.params), jax.tree.leaves(state.params))
    assert_close(filled_report.totals, report.totals, 1e-5)
    filled, full = (steps.evaluate(params, examples(filler=n)) for n in (5, 0))
    assert_close(filled, full, 1e-5)


def test_totals_add_up_over_an_epoch_of_uneven_batches():
    steps, params, _ = setup(optimizer=optax.sgd(0.0))
    state = steps.init(params)
    batches = [examples(8, seed=1), examples(3, seed=2, filler=5)]
    by_hand = [steps.evaluate(state.params, batch) for batch in batches]
    for batch in batches:
        state, _ = steps.train(state, batch)
    assert_close(state.totals, jax.tree.map(lambda *a: sum(a), *by_hand), 1e-5)
    assert float(state.totals.weight) == 11
    assert isinstance(state.totals, Totals)


def test_dropout_masks_are_a_function_of_the_step():
    steps, params, _ = setup(dropout=0.5, optimizer=optax.sgd(0.0))
    losses = []
    for _ in range(2):
        state = steps.init(jax.tree.map(jnp.copy, params))
        run = []
        for _ in range(3):
            state, report = steps.train(state, examples())
            run.append(float(report.totals.loss))
        losses.append(run)
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


def test_the_callers_parameters_survive_the_donation_of_the_state():
    steps, params, _ = setup(average=0.9)
    state = steps.init(params)
    first = jax.tree.leaves(state)
    state, _ = steps.train(state, examples())
    assert all(leaf.is_deleted() for leaf in first), "nothing was donated"
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_clipping_bounds_the_step():
    optimizer = make_optimizer("sgd", make_schedule("constant", 1.0, 10), clip_norm=0.01)
    steps, params, _ = setup(optimizer=optimizer)
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    state, _ = steps.train(steps.init(params), examples())
    moves = [a - b for a, b in zip(jax.tree.leaves(state.params), before, strict=True)]
    moved = np.sqrt(sum(np.sum(move**2) for move in moves))
    np.testing.assert_allclose(moved, 0.01, rtol=1e-4)  # float32 differences of numbers near 1


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_schedules_end_where_they_say(name, schedule):
    optimizer = make_optimizer(name, make_schedule(schedule, 0.1, 5), clip_norm=1e9)
    params = {"w": jnp.ones(3)}
    state, moves = optimizer.init(params), []
    for _ in range(7):
        updates, state = optimizer.update({"w": jnp.ones(3)}, state, params)
        moves.append(float(jnp.abs(updates["w"]).max()))
    assert moves[0] > 0
    assert (moves[6] == 0) == (schedule != "constant")


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw"])
def test_epsilon_makes_small_gradients_small_steps(name):
    """By hand, the first step of gradients 1e-3 and 1: what the first is of the second."""
    rate = make_schedule("constant", 0.1, 5)
    params = {"w": jnp.zeros(2)}
    moved = {}
    for epsilon in (1e-7, 1e-2):
        optimizer = make_optimizer(name, rate, clip_norm=1e9, epsilon=epsilon)
        updates, _ = optimizer.update({"w": jnp.array([1e-3, 1.0])}, optimizer.init(params), params)
        moved[epsilon] = np.asarray(updates["w"] / updates["w"][1], np.float64)
    for epsilon, (small, _) in moved.items():
        if name == "rmsprop":  # v = 0.1 g^2, and epsilon stands under the root
            steps = [g / np.sqrt(0.1 * g**2 + epsilon) for g in (1e-3, 1.0)]
        else:  # corrected for its beginning, v = g^2
            steps = [g / (g + epsilon) for g in (1e-3, 1.0)]
        np.testing.assert_allclose(small, steps[0] / steps[1], rtol=1e-4)  # float32 arithmetic


def test_adamw_takes_a_share_of_every_weight():
    """Apart from the gradient (Loshchilov and Hutter, 2019): where that is zero, rate * decay."""
    rate = make_schedule("constant", 0.1, 5)
    optimizer = make_optimizer("adamw", rate, clip_norm=1e9, weight_decay=0.5)
    params = {"w": jnp.array([2.0, -1.0])}
    updates, _ = optimizer.update({"w": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.1 * 0.5 * params["w"], rtol=1e-6)


@every_cell
def test_learn(cell):
    """Each cell overfits 32 examples with random labels to a loss below 0.05."""
    optimizer = make_optimizer("adam", make_schedule("constant", 0.02, 300), clip_norm=1.0)
    steps, params, _ = setup(cell, optimizer=optimizer, units=16)
    state, batch = steps.init(params), examples(32, steps=10)
    for _ in range(300):
        state, report = steps.train(state, batch)
    assert float(report.totals.loss / report.totals.weight) < 0.05


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "parameter", "update"])
def test_a_number_that_is_not_finite_changes_nothing(where, value):
    """Parameters, optimizer, average and totals stay bit for bit; only the step is counted."""
    optimizer = optax.adam(0.1)
    if where == "update":
        optimizer = optax.chain(optimizer, optax.scale(value))
    steps, params, _ = setup(average=0.9, optimizer=optimizer)
    if where != "update":
        good, _ = steps.train(steps.init(params), examples())
    else:
        good = steps.init(params)
    if where == "parameter":
        good.params["dense"]["kernel"][...] = good.params["dense"]["kernel"][...].at[0].set(value)
    batch = examples()
    if where == "input":
        batch = batch._replace(weights=np.full(8, value, np.float32))
    before = digest(good._replace(step=0, skipped=0))
    step = int(good.step)
    after, report = steps.train(good, batch)
    assert not bool(report.finite)
    assert digest(after._replace(step=0, skipped=0)) == before
    assert (int(after.step), int(after.skipped)) == (step + 1, 1)
    if where == "input":
        _, report = steps.train(after, examples())
        assert bool(report.finite)
