"""Loss, optimizer and the two compiled steps: pure functions of a state and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class Examples(NamedTuple):
    """What a step is fed with.

    Attributes:
        inputs: ids [B, T] or features [B, T, D].
        lengths: int32 [B], the valid steps.
        labels: int32 [B].
        weights: float32 [B], 0 on rows that only fill the batch.
    """

    inputs: Any
    lengths: Any
    labels: Any
    weights: Any


class Totals(NamedTuple):
    """Sums over examples, so that a mean over batches of any size is exact."""

    loss: jax.Array
    correct: jax.Array
    weight: jax.Array

    @classmethod
    def zeros(cls) -> "Totals":
        """Nothing seen yet; three arrays, because a donated buffer must not be given twice."""
        return cls(*[jnp.zeros((), jnp.float32) for _ in cls._fields])


class TrainState(NamedTuple):
    """All that a run needs to continue: what `train_step` takes and gives.

    Attributes:
        params: the model's parameters, an `nnx.State`.
        opt_state: optax's.
        step: int32, optimizer steps made.
        totals: over the epoch so far, so that an epoch can be left and entered anywhere.
    """

    params: Any
    opt_state: Any
    step: jax.Array
    totals: Totals


class Steps(NamedTuple):
    """The compiled functions of a run.

    Attributes:
        init: `params -> TrainState`.
        train: `(state, examples) -> (state, Totals of this batch)`; the state is donated.
        evaluate: `(params, examples) -> Totals`.
    """

    init: Callable[[Any], TrainState]
    train: Callable[[TrainState, Examples], tuple[TrainState, Totals]]
    evaluate: Callable[[Any, Examples], Totals]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """In nats, for each example [B]; from logits [B, C], or [B, 1] when there are two classes."""
    if logits.shape[-1] == 1:
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels.astype(logits.dtype))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def predicted(logits: jax.Array) -> jax.Array:
    """The label that each row of logits [B, C] or [B, 1] speaks for, int32 [B]."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def make_optimizer(
    name: str,
    learning_rate: float,
    *,
    schedule: str,
    total_steps: int,
    clip_norm: float,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Clipping by the global norm, then the optimizer with its schedule over `total_steps`."""
    rate = {
        "constant": lambda: optax.constant_schedule(learning_rate),
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, total_steps),
        "linear": lambda: optax.linear_schedule(learning_rate, 0.0, total_steps),
    }[schedule]()
    optimizer = {
        # Keras's constants, which the tutorials ran with.
        "rmsprop": lambda: optax.rmsprop(rate, decay=0.9, eps=1e-7),
        "adam": lambda: optax.adam(rate, eps=1e-7),
        "adamw": lambda: optax.adamw(rate, eps=1e-7, weight_decay=weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=0.9),
    }[name]()
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)


def make_steps(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation, key: jax.Array
) -> Steps:
    """The two steps of a model whose call is `model(inputs, lengths, key) -> logits`."""

    def totals(logits: jax.Array, examples: Examples) -> Totals:
        right = (predicted(logits) == examples.labels).astype(jnp.float32)
        return Totals(
            loss=jnp.sum(cross_entropy(logits, examples.labels) * examples.weights),
            correct=jnp.sum(right * examples.weights),
            weight=jnp.sum(examples.weights),
        )

    def loss(params: Any, examples: Examples, key: jax.Array | None) -> tuple[jax.Array, Totals]:
        logits = nnx.merge(graphdef, params)(examples.inputs, examples.lengths, key)
        sums = totals(logits, examples)
        return sums.loss / jnp.maximum(sums.weight, 1), sums

    def init(params: Any) -> TrainState:
        return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), Totals.zeros())

    def train(state: TrainState, examples: Examples) -> tuple[TrainState, Totals]:
        dropout_key = jax.random.fold_in(key, state.step)
        gradient, batch = jax.grad(loss, has_aux=True)(state.params, examples, dropout_key)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        epoch = jax.tree.map(jnp.add, state.totals, batch)
        return TrainState(params, opt_state, state.step + 1, epoch), batch

    def evaluate(params: Any, examples: Examples) -> Totals:
        return loss(params, examples, None)[1]

    return Steps(init, jax.jit(train, donate_argnums=0), jax.jit(evaluate))
