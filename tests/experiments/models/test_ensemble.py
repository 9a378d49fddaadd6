"""Several networks side by side: each learns as if alone, and the mean answers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from small_models import examples
from tables import assert_close

from experiments.config.settings import Model
from experiments.models import summary
from experiments.models.build import build as build_network
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble
from experiments.training.step import make_steps

MODEL = Model(
    "gru", 4, bidirectional=True, readout="mean-max", dropout=0.5, word_dropout=0.2, members=3
)


def build(**changes):
    return build_network(dataclasses.replace(MODEL, **changes), 3, features=5, vocabulary=20)


def test_the_mean_of_the_members_logits_answers():
    model, batch = build(), examples()
    alone = [member(batch.inputs, batch.lengths) for member in model.members]
    assert_close(model(batch.inputs, batch.lengths), np.mean(alone, axis=0))
    assert float(np.std(alone, axis=0).min()) > 0, "the members are copies of each other"
    assert isinstance(build(members=1), Classifier)


def test_each_member_learns_as_if_alone():
    """One step of SGD of all together, and of each by itself with the dropout that it had."""
    model, batch = build(), examples()
    graphdef, params = nnx.split(model)
    steps = make_steps(graphdef, optax.sgd(0.1), jax.random.key(1))
    together, _ = steps.train(steps.init(params), batch)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(1), 0), 3)
    for n, member in enumerate(model.members):
        graph, own = nnx.split(member)

        def loss(own, graph=graph, key=keys[n]):
            logits = nnx.merge(graph, own)(batch.inputs, batch.lengths, key)
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], batch.labels))

        expected = jax.tree.map(lambda p, g: p - 0.1 * g, own, jax.grad(loss)(own))
        found = nnx.split(nnx.merge(graphdef, together.params).members[n])[1]
        assert_close(jax.tree.leaves(found), jax.tree.leaves(expected), 1e-5)


def test_what_is_reported_is_the_mean_answers():
    model, batch = build(dropout=0.0, word_dropout=0.0), examples()
    graphdef, params = nnx.split(model)
    steps = make_steps(graphdef, optax.sgd(0.0), jax.random.key(1))
    _, report = steps.train(steps.init(params), batch)
    assert_close(report.totals, steps.evaluate(params, batch), 1e-5)


def test_the_table_of_layers_has_every_member():
    model = build()
    rows = summary.summary(model, (6,))
    assert sum(row.parameters for row in rows) == summary.count(model)
    assert rows[-1].name == "Mean logit of 3"
    assert isinstance(model, Ensemble)
