"""Measures how long a memory lasts: two tasks whose answer lies a known number of steps back.

Adding (Hochreiter and Schmidhuber, 1997): of T numbers from [0, 1], two are marked, one in each
half; after the last step the network gives their sum. Answering 1 always leaves a mean squared
error of 1/6 = 0.167, the variance of the sum.

Copy (after the same paper; Arjovsky et al., 2016): two of 8 symbols are shown, each with the
number of its place, and each place is asked for exactly T steps later; nothing stands in between.
Guessing leaves 7/8 of the answers wrong. (Without the places a network first learns which symbols
there were, and then for thousands of steps not in which order.)

Each network gets the same number of steps, batches, units and Adam, and two attempts, at the two
learning rates that its cell did best with at short lengths (of 0.0003 ... 0.02). It is done as soon
as it has solved its length: as its error is below a tenth of that without any memory.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxrnn

SYMBOLS, SHOWN = 8, 2
CHECK_EVERY = 25
EXAMPLES = 1000  # the error is their mean; the network was not trained on them
AT_ONCE = 100  # of the examples: the states of 1000 over 10,000 steps would be gigabytes

RATES = {
    "adding": {"rnn": (0.003, 0.001), "lstm": (0.01, 0.02), "gru": (0.01, 0.02)},
    "copy": {"rnn": (0.003, 0.001), "lstm": (0.02, 0.01), "gru": (0.02, 0.01)},
}

Readout = Callable[[jax.Array], jax.Array]
Measure = Callable[[jax.Array, Readout, jax.Array], jax.Array]


class Problem(NamedTuple):
    """A task that exists for every length.

    Attributes:
        features, outputs: widths of input and answer.
        batch: `(key, length, size) -> (xs [B, steps, features], answers [B, ...])`.
        loss: `(hs [B, steps, H], readout, answers) -> scalar`, what is minimised.
        error: the same, but what is reported.
        baseline: the error without any memory.
    """

    features: int
    outputs: int
    batch: Callable[[jax.Array, int, int], tuple[jax.Array, jax.Array]]
    loss: Measure
    error: Measure
    baseline: float


class Row(NamedTuple):
    """How one network did at one length: the better of its attempts, the seconds of all."""

    task: str
    cell: str
    length: int
    error: float
    baseline: float
    solved: bool
    steps: int
    learning_rate: float
    seconds: float


def _adding_batch(key: jax.Array, length: int, size: int) -> tuple[jax.Array, jax.Array]:
    value_key, first_key, second_key = jax.random.split(key, 3)
    values = jax.random.uniform(value_key, (size, length))
    first = jax.random.randint(first_key, (size,), 0, length // 2)
    second = jax.random.randint(second_key, (size,), length // 2, length)
    marks = jax.nn.one_hot(first, length) + jax.nn.one_hot(second, length)
    return jnp.stack([values, marks], axis=-1), jnp.sum(values * marks, axis=1)


def _adding_error(hs: jax.Array, readout: Readout, answers: jax.Array) -> jax.Array:
    return jnp.mean((readout(hs[:, -1])[:, 0] - answers) ** 2)


def _copy_batch(key: jax.Array, length: int, size: int) -> tuple[jax.Array, jax.Array]:
    answers = jax.random.randint(key, (size, SHOWN), 0, SYMBOLS)
    places = jnp.broadcast_to(jnp.eye(SHOWN), (size, SHOWN, SHOWN))
    shown = jnp.concatenate([jax.nn.one_hot(answers, SYMBOLS), places], axis=-1)
    between = jnp.zeros((size, length - SHOWN, SYMBOLS + SHOWN))
    asked = jnp.concatenate([jnp.zeros((size, SHOWN, SYMBOLS)), places], axis=-1)
    return jnp.concatenate([shown, between, asked], axis=1), answers


def _copy_loss(hs: jax.Array, readout: Readout, answers: jax.Array) -> jax.Array:
    logits = readout(hs[:, -SHOWN:])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, answers))


def _copy_error(hs: jax.Array, readout: Readout, answers: jax.Array) -> jax.Array:
    wrong = jnp.argmax(readout(hs[:, -SHOWN:]), axis=-1) != answers
    return jnp.mean(wrong.astype(hs.dtype))


_ADDING = Problem(2, 1, _adding_batch, _adding_error, _adding_error, 1 / 6)
_COPY = Problem(SYMBOLS + SHOWN, SYMBOLS, _copy_batch, _copy_loss, _copy_error, 1 - 1 / SYMBOLS)
PROBLEMS: Mapping[str, Problem] = {"adding": _ADDING, "copy": _COPY}


class Plan(NamedTuple):
    """What every network gets alike, by the names of the command's settings."""

    steps: int
    batch_size: int
    units: int
    bias: Literal["chrono", "plain"]
    seed: int


def attempt(task: str, cell: str, length: int, plan: Plan) -> Row:
    """Train one network at one length, at the second learning rate if the first did not do."""
    rows: list[Row] = []
    for rate in RATES[task][cell]:
        rows.append(train(task, cell, length, rate, plan))
        if rows[-1].solved:
            break
    # An attempt that diverged is the worst; NaN by itself is not less and not more than anything.
    best = min(rows, key=lambda row: (math.isnan(row.error), row.error))
    return best._replace(seconds=round(sum(row.seconds for row in rows), 1))


def train(task: str, name: str, length: int, rate: float, plan: Plan) -> Row:
    """Train one network at one length, until it is solved or the steps are used up."""
    begun = time.perf_counter()
    problem, cell, units = PROBLEMS[task], jaxrnn.CELLS[name], plan.units
    key = jax.random.key(plan.seed)
    layer_key, dense_key, bias_key, steps_key, test_key = jax.random.split(key, 5)
    layer = jaxrnn.init(layer_key, cell, problem.features, units)
    if plan.bias == "chrono":
        layer = chrono(bias_key, name, layer, length)
    glorot = jax.nn.initializers.glorot_uniform()
    weights = layer, glorot(dense_key, (units, problem.outputs)), jnp.zeros(problem.outputs)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    def measure(how: Measure, weights: Any, xs: jax.Array, answers: jax.Array) -> jax.Array:
        layer, matrix, offset = weights
        _, hs = jaxrnn.unroll(cell, layer, xs)
        return how(hs, lambda h: h @ matrix + offset, answers)

    @jax.jit
    def step(weights: Any, opt_state: Any, n: int) -> tuple[Any, Any]:
        batch = problem.batch(jax.random.fold_in(steps_key, n), length, plan.batch_size)
        gradient = jax.grad(lambda w: measure(problem.loss, w, *batch))(weights)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(weights, updates), opt_state

    @jax.jit
    def test(weights: Any) -> jax.Array:
        examples = problem.batch(test_key, length, EXAMPLES)
        parts = jax.tree.map(lambda a: a.reshape(-1, AT_ONCE, *a.shape[1:]), examples)
        return jnp.mean(jax.lax.map(lambda part: measure(problem.error, weights, *part), parts))

    opt_state, done, error = optimizer.init(weights), 0, float(test(weights))
    enough = problem.baseline / 10
    while done < plan.steps and not error < enough:
        for _ in range(min(CHECK_EVERY, plan.steps - done)):
            weights, opt_state = step(weights, opt_state, done)
            done += 1
        error = float(test(weights))
    seconds = round(time.perf_counter() - begun, 1)
    return Row(task, name, length, error, problem.baseline, error < enough, done, rate, seconds)


def chrono(key: jax.Array, name: str, layer: jaxrnn.Params, length: int) -> jaxrnn.Params:
    """Let gates keep for up to `length` steps (Tallec and Ollivier, 2018); no gate, no change.

    b ~ log uniform(1, length - 1)
    LSTM: forget gate b, input gate -b        GRU: update gate z b, as z keeps
    """
    units = layer.wh.shape[0]
    first, second = slice(0, units), slice(units, 2 * units)
    keep = jnp.log(jax.random.uniform(key, (units,), minval=1.0, maxval=length - 1.0))
    if name == "lstm":
        return layer._replace(bx=layer.bx.at[second].set(keep).at[first].set(-keep))
    return layer._replace(bx=layer.bx.at[second].set(keep)) if name == "gru" else layer


def verdict(rows: list[Row], task: str) -> str:
    """The shortest lag at which SimpleRNN fails and every other cell succeeds, in words."""
    for length in sorted({row.length for row in rows if row.task == task}):
        solved = {r.cell: r.solved for r in rows if r.task == task and r.length == length}
        others = [good for cell, good in solved.items() if cell != "rnn"]
        if solved.get("rnn") is False and others and all(others):
            return f"SimpleRNN fails at a lag of {length}, where every other cell succeeds"
    return "no lag at which SimpleRNN alone fails"
