"""Asks a network step by step: a state goes in and comes out, and after each step there are logits.

The logits after step t are those of the whole network on the first t steps. Every array of the
first state is zero.
"""

from typing import Any

import jax
import jax.numpy as jnp

import jaxrnn
from experiments.models.bigrams import row
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble, members

# By name: `count` int32 [B], how many steps there were, `before` int32 [B], the word before, and of
# each member its recurrent states and what its readout needs of the steps before, [B, F].
States = dict[str, Any]


def can_step(model: Classifier | Ensemble) -> bool:
    """Whether no layer runs backward, which begins at the end."""
    stacks = [m.recurrent.weights.get_value() for m in members(model) if m.recurrent is not None]
    return all(len(layer) == 1 for stack in stacks for layer in stack)


def first_states(model: Classifier | Ensemble, batch: Any) -> States:
    """The state before the first step: zeros for `batch` sequences."""
    states: States = {"count": jnp.zeros(batch, jnp.int32)}
    for number, member in enumerate(members(model)):
        if member.embedding is not None:
            states["before"] = jnp.zeros(batch, jnp.int32)
        width = member.dense.in_features if member.embedding is None else member.embedding.features
        if member.recurrent is not None:
            for layer, (weights,) in enumerate(member.recurrent.weights.get_value()):
                start = jaxrnn.initial_state(member.recurrent.cell, weights, (batch,))
                for field, array in zip(start._fields, start, strict=True):
                    states[f"member{number}/{field}{layer}"] = array
                width = weights.wh.shape[0]
        if "mean" in member.readout:
            states[f"member{number}/sum"] = jnp.zeros((batch, width))
        if "max" in member.readout:
            states[f"member{number}/largest"] = jnp.zeros((batch, width))
    return states


def step(model: Classifier | Ensemble, states: States, xs: jax.Array) -> tuple[States, jax.Array]:
    """Take one step.

    Args:
        model: a network that `can_step`.
        states: those after the step before; `first_states` at first.
        xs: a word of each text, ids int32 [B], or features [B, D].

    Returns:
        The states after it, and the logits [B, C] of all steps so far.
    """
    after: States = {"count": states["count"] + 1}
    if "before" in states:
        after["before"] = xs
    logits = []
    for number, member in enumerate(members(model)):
        prefix = f"member{number}/"
        own = {n.removeprefix(prefix): a for n, a in states.items() if n.startswith(prefix)}
        own, h = _recurrent(member, own, _features(member, states, xs))
        own, pooled = _read_out(member, own, h, states["count"])
        after |= {prefix + name: array for name, array in own.items()}
        if member.hidden is not None:
            pooled = jax.nn.relu(member.hidden(pooled))
        logits.append(member.dense(pooled))
    return after, jnp.stack(logits).mean(0)


def _features(member: Classifier, states: States, xs: jax.Array) -> jax.Array:
    if member.embedding is None:
        return xs
    words = member.embedding(xs)
    if member.bigrams is None:
        return words
    table = member.bigrams.table
    pairs = row(jnp.stack([states["before"], xs], axis=-1), table.num_embeddings)[:, 1]
    return words + table(pairs)


def _recurrent(member: Classifier, own: States, x: jax.Array) -> tuple[States, jax.Array]:
    """A member's states after the step, and the output of its last layer."""
    if member.recurrent is None:
        return own, x
    cell = member.recurrent.cell
    for layer, (weights,) in enumerate(member.recurrent.weights.get_value()):
        names = [f"{field}{layer}" for field in cell.state._fields]
        state, x = jaxrnn.step(cell, weights, cell.state(*[own[name] for name in names]), x)
        own = own | dict(zip(names, state, strict=True))
    return own, x


def _read_out(
    member: Classifier, own: States, h: jax.Array, before: jax.Array
) -> tuple[States, jax.Array]:
    """A member's states with this output in them, and one vector for all steps so far."""
    own, parts = dict(own), {"last": h}
    if "sum" in own:
        own["sum"] = own["sum"] + h
        parts["mean"] = own["sum"] / (before + 1)[:, None].astype(h.dtype)
    if "largest" in own:
        is_first = (before == 0)[:, None]
        own["largest"] = jnp.where(is_first, h, jnp.maximum(own["largest"], h))
        parts["max"] = own["largest"]
    return own, jnp.concatenate([parts[part] for part in member.readout.split("-")], axis=-1)
