"""Looks up features of pairs of neighbouring words.

That a pair says more than its two words ("not good") a recurrent network has to learn; a table of
pairs knows it from the first. There are too many pairs for a row each, so several share one: the
hashing trick (Weinberger et al., 2009), with words as in fastText (Joulin et al., 2016).
"""

import jax
import jax.numpy as jnp
from flax import nnx

# Of MurmurHash3's finalizer; the last shift is followed by no product.
SHIFTS, MULTIPLIERS = (16, 13, 16), (0x85EBCA6B, 0xC2B2AE35)


class Bigrams(nnx.Module):
    """Ids [B, T] to features [B, T, F] of each word together with the one before it.

    The table begins at zero: a pair that was never seen says nothing, and one seen rarely little.
    """

    def __init__(self, rows: int, features: int, *, rngs: nnx.Rngs):
        zeros = jax.nn.initializers.zeros
        self.table = nnx.Embed(rows, features, embedding_init=zeros, rngs=rngs)

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Features [B, T, F]; the first word of a text is paired with padding."""
        return self.table(row(ids, self.table.num_embeddings))


def row(ids: jax.Array, rows: int) -> jax.Array:
    """The row of each word's pair with the word before it: integers below `rows`, [..., T].

    The mixing is that of MurmurHash3 (Appleby, 2011): all bits of both ids decide all bits of the
    row, in arithmetic modulo 2**32, which is the same on every device.
    """
    word = ids.astype(jnp.uint32)
    before = jnp.pad(word[..., :-1], [(0, 0)] * (ids.ndim - 1) + [(1, 0)])
    mixed = _mix(_mix(before) ^ word)
    return (mixed % jnp.uint32(rows)).astype(jnp.int32)


def _mix(bits: jax.Array) -> jax.Array:
    """MurmurHash3's finalizer, a permutation of the 32-bit numbers."""
    for shift, multiplier in zip(SHIFTS, MULTIPLIERS, strict=False):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(multiplier)
    return bits ^ (bits >> SHIFTS[-1])
