"""Makes loss, optimizer and the two compiled steps: pure functions of a state and a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.data.batch import Examples
from experiments.training.devices import ONE_DEVICE, Placement
from jaxrnn import parallel


class Totals(NamedTuple):
    """Sums over examples, so that a mean over batches of any size is exact."""

    loss: jax.Array
    correct: jax.Array
    weight: jax.Array

    @classmethod
    def zeros(cls) -> "Totals":
        """Nothing seen yet; three arrays, because a donated buffer must not be given twice."""
        return cls(*[jnp.zeros((), jnp.float32) for _ in cls._fields])

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy; zeros where every step was left out."""
        loss, correct, weight = (float(np.asarray(field)) for field in self)
        return loss / max(weight, 1), correct / max(weight, 1)


class Report(NamedTuple):
    """What one training step says of itself.

    Attributes:
        totals: of its batch.
        gradient_norm: over all parameters, before clipping.
        finite: whether loss, gradient and new parameters are; where not, nothing was changed.
    """

    totals: Totals
    gradient_norm: jax.Array
    finite: jax.Array


class TrainState(NamedTuple):
    """All that a run needs to continue: what `train_step` takes and gives.

    Attributes:
        params: the model's parameters, an `nnx.State`.
        opt_state: optax's.
        step: int32, optimizer steps made.
        totals: over the epoch so far, so that an epoch can be left and entered anywhere.
        norms: sum of the gradient norms over the epoch so far.
        skipped: int32, steps that changed nothing because a number was not finite.
        average: the moving average of the parameters, None where there is none.
    """

    params: Any
    opt_state: Any
    step: jax.Array
    totals: Totals
    norms: jax.Array
    skipped: jax.Array
    average: Any = None

    @property
    def evaluated(self) -> Any:
        """The parameters that count: the average where there is one."""
        return self.params if self.average is None else self.average

    def next_epoch(self) -> "TrainState":
        """The same with the sums over the epoch at zero."""
        return self._replace(totals=Totals.zeros(), norms=jnp.zeros((), jnp.float32))


class Steps(NamedTuple):
    """The compiled functions of a run.

    Attributes:
        init: `params -> TrainState`.
        train: `(state, examples) -> (state, Report)`; the state is donated.
        evaluate: `(params, examples) -> Totals`.
    """

    init: Callable[[Any], TrainState]
    train: Callable[[TrainState, Examples], tuple[TrainState, Report]]
    evaluate: Callable[[Any, Examples], Totals]


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """In nats, for each example [B]; from logits [B, C], or [B, 1] when there are two classes.

    With `smoothing` s the target is 1 - s for the label plus s shared by all classes alike
    (Szegedy et al., 2016).
    """
    if logits.shape[-1] == 1:
        targets = labels.astype(logits.dtype) * (1 - smoothing) + smoothing / 2
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], targets)
    targets = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, smoothing))


def predicted(logits: jax.Array) -> jax.Array:
    """The label that each row of logits [B, C] or [B, 1] speaks for, int32 [B]."""
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def make_schedule(name: str, learning_rate: float, total_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step."""
    return {
        "constant": lambda: optax.constant_schedule(learning_rate),
        "cosine": lambda: optax.cosine_decay_schedule(learning_rate, total_steps),
        "linear": lambda: optax.linear_schedule(learning_rate, 0.0, total_steps),
    }[name]()


def make_optimizer(
    name: str,
    rate: optax.Schedule,
    *,
    clip_norm: float,
    weight_decay: float = 0.0,
    epsilon: float = 1e-7,  # Keras's, as is rmsprop's decay: the tutorials ran with them
) -> optax.GradientTransformation:
    """Clipping by the global norm, then the optimizer with its schedule."""
    optimizer = {
        "rmsprop": lambda: optax.rmsprop(rate, decay=0.9, eps=epsilon),
        "adam": lambda: optax.adam(rate, eps=epsilon),
        "adamw": lambda: optax.adamw(rate, eps=epsilon, weight_decay=weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=0.9),
    }[name]()
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)


def make_steps(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    average: float = 0.0,
    smoothing: float = 0.0,
    sigmoid_twice: bool = False,
    placement: Placement = ONE_DEVICE,
) -> Steps:
    """The two steps of a model whose call is `model(inputs, lengths, key, axis_name) -> logits`.

    Args:
        graphdef: of the model, from `nnx.split`.
        optimizer: from `make_optimizer`.
        key: of the dropout; step n draws from `fold_in(key, n)`.
        average: decay of the moving average of the parameters; 0 keeps none.
        smoothing: of the labels, in training only.
        sigmoid_twice: the loss takes the probability for the logit, as tutorials do where a
            model ends in a sigmoid and the loss applies another. What it then takes for the
            probability lies between 1/2 and 0.731, hence over as many examples of either label a
            mean of at least (-log 0.731 - log 0.5) / 2 = 0.503.
        placement: the devices that the batches are split over.
    """
    axis = placement.axis_name

    def seen(logits: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits) if sigmoid_twice else logits

    def totals(logits: jax.Array, examples: Examples) -> Totals:
        right = (predicted(logits) == examples.labels).astype(jnp.float32)
        return Totals(
            loss=jnp.sum(cross_entropy(seen(logits), examples.labels) * examples.weights),
            correct=jnp.sum(right * examples.weights),
            weight=jnp.sum(examples.weights),
        )

    def forward(params: Any, examples: Examples, key: jax.Array | None) -> jax.Array:
        return nnx.merge(graphdef, params)(examples.inputs, examples.lengths, key, axis)

    def loss(params: Any, examples: Examples, key: jax.Array) -> tuple[jax.Array, Totals]:
        logits = forward(params, examples, key)
        # Of an ensemble, [N, B, C]; their sum gives each member the gradient it would have alone.
        members = logits if logits.ndim == 3 else logits[None]
        sums = totals(members.mean(0), examples)
        smooth = sum(cross_entropy(seen(m), examples.labels, smoothing) for m in members)
        return jnp.sum(smooth * examples.weights) / jnp.maximum(sums.weight, 1), sums

    gradients = parallel.mean_value_and_grad(
        loss, axis, weight=lambda params, examples, key: jnp.sum(examples.weights), has_aux=True
    )

    def init(params: Any) -> TrainState:
        # Copies: the state's buffers are donated, the caller's parameters are not.
        own, mean = (jax.tree.map(jnp.copy, params) for _ in range(2))
        step, skipped = (jnp.zeros((), jnp.int32) for _ in range(2))
        norms = jnp.zeros((), jnp.float32)
        state = TrainState(own, optimizer.init(own), step, Totals.zeros(), norms, skipped)
        return state._replace(average=mean) if average else state

    def train(state: TrainState, examples: Examples) -> tuple[TrainState, Report]:
        dropout_key = jax.random.fold_in(key, state.step)
        (value, batch), gradient = gradients(state.params, examples, dropout_key)
        batch = parallel.total(batch, axis)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        mean = state.average
        if average:
            # Short at first, or the mean would remember the weights that were drawn.
            share = jnp.maximum(1 - average, 9 / (10 + state.step))
            mean = optax.incremental_update(params, mean, share)
        totals = jax.tree.map(jnp.add, state.totals, batch)
        # A sum that is not finite has a term that is not. The parameters' own norm is asked, too:
        # clipping turns an infinite norm into a silent update of zero, or of NaN.
        finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
        new = TrainState(
            params, opt_state, state.step, totals, state.norms + norm, state.skipped, mean
        )
        kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
        kept = kept._replace(step=state.step + 1, skipped=state.skipped + jnp.where(finite, 0, 1))
        return kept, Report(batch, norm, finite)

    def evaluate(params: Any, examples: Examples) -> Totals:
        return parallel.total(totals(forward(params, examples, None), examples), axis)

    return Steps(init, *placement.compile(train, evaluate))
