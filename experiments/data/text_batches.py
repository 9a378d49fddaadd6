"""Reads texts in batches of similar length, so that little of a batch is padding.

An epoch sorts its shuffled texts (stably) into a few buckets by length, cuts them into batches and
permutes the batches:

    sorted  = shuffled, by bucket of its length; ties stay shuffled
    batch k = sorted[k*B : (k+1)*B], padded to the largest bucket in it
    step s  = batch order[s], order another permutation from the same generator

The few padded lengths are the only shapes that a compiled step meets.
"""

from typing import Literal

import numpy as np

from experiments.data.batch import Plan
from experiments.data.shuffling import FILLER, cut, permutation
from experiments.data.text import PADDING, Corpus

# Each shape compiles once. Of all steps of 20,000 IMDB reviews at max_length 500, B = 128, six
# shapes waste 13.6% on padding; four 18.5%, eight 11.1%, a single one 56%.
SHAPES = 6


def best_boundaries(lengths: np.ndarray, max_length: int, shapes: int = SHAPES) -> tuple[int, ...]:
    """The padded lengths, ascending, that waste the fewest steps on examples of these lengths.

    Each example is cut to `max_length` and padded to the next boundary. With N(a) examples of
    length at most a, the least number of padded steps up to length b is

        cost_1(b) = N(b) b,    cost_k(b) = min over a < b of cost_{k-1}(a) + (N(b) - N(a)) b

    and the boundaries are where the minimum lies. The last one is `max_length`, so that longer
    texts than these have a place too.

    Raises:
        ValueError: `max_length` or `shapes` is below 1.
    """
    if max_length < 1 or shapes < 1:
        raise ValueError(f"max_length is {max_length} and shapes {shapes}; give at least 1")
    ordered = np.sort(np.clip(lengths, 1, max_length))  # no batch is narrower than one step
    # At most 513 places to cut at (beyond that, quantiles): the table of pairs stays at 2 MB.
    places = ordered[np.linspace(0, len(ordered) - 1, 513).astype(int)] if len(ordered) else []
    at = np.union1d(places, [0, max_length]).astype(np.int64)
    below = np.searchsorted(ordered, at, side="right")
    never = np.iinfo(np.int64).max // 2
    pair = np.where(at[:, None] < at, (below - below[:, None]) * at, never)
    cost, chosen = below * at, []
    for _ in range(shapes - 1):
        total = cost[:, None] + pair
        # Nothing lies up to length 0, so fewer shapes than allowed are among the choices.
        total[0, 0] = 0
        chosen.append(total.argmin(0))
        cost = total.min(0)
    end = len(at) - 1
    boundaries = {max_length}
    for previous in reversed(chosen):
        end = int(previous[end])
        boundaries.add(int(at[end]))
    return tuple(sorted(boundaries - {0}))


class PaddedTexts:
    """The texts of a corpus, each padded at its end to one of a few lengths.

    Args:
        corpus: the texts.
        max_length: longer texts are cut.
        truncate: `head` cuts the head off and keeps the end, `tail` cuts the tail off.
        boundaries: the padded lengths, the last one `max_length`. Default: `best_boundaries` of
            the corpus. Give two corpora the same to share compiled shapes.

    Raises:
        ValueError: a size below 1, or bad boundaries.
    """

    def __init__(
        self,
        corpus: Corpus,
        max_length: int,
        truncate: Literal["head", "tail"] = "head",
        boundaries: tuple[int, ...] | None = None,
    ) -> None:
        if truncate not in ("head", "tail"):
            raise ValueError(f"truncate is {truncate!r}; give 'head' or 'tail'")
        if boundaries is None:
            boundaries = best_boundaries(corpus.lengths, max_length)
        if boundaries != tuple(sorted(set(boundaries))) or boundaries[-1:] != (max_length,):
            raise ValueError(f"boundaries are {boundaries}; let them rise to {max_length}")
        self.labels, self.boundaries = corpus.labels, boundaries
        # Something to look up even where all texts are empty.
        self._tokens = corpus.tokens if corpus.tokens.size else np.zeros(1, np.int32)
        self._lengths = np.minimum(corpus.lengths, max_length)
        missing = corpus.lengths - self._lengths if truncate == "head" else 0
        self._starts = corpus.offsets[:-1] + missing
        self._buckets = np.searchsorted(boundaries, self._lengths).astype(np.uint16)

    def plan(self, rows: np.ndarray, batch_size: int, random: np.random.Philox | None) -> Plan:
        """Batches of similar length, and the length [steps] that each is padded to.

        A batch that spans buckets gets the larger length; without `random`, rows are sorted by
        length itself.
        """
        key = self._lengths if random is None else self._buckets
        batches = cut(rows[np.argsort(key[rows], kind="stable")], batch_size)
        # A filler never asks for more than its neighbours have.
        buckets = np.where(batches == FILLER, 0, self._buckets[batches]).max(1)
        plan = Plan(batches, np.array(self.boundaries)[buckets])
        if random is None:
            return plan
        order = permutation(random, len(batches))
        return Plan(plan.rows[order], plan.details[order])

    def read(self, rows: np.ndarray, detail: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids int32 [B, detail], `PADDING` from each length on; and the lengths, int32 [B]."""
        lengths = np.where(rows == FILLER, 0, self._lengths[rows])
        at = np.arange(detail)
        # Clipped: beyond the last text nothing is there to read; the mask drops it anyway.
        tokens = self._tokens.take(self._starts[rows][:, None] + at, mode="clip")
        inputs = np.where(at < lengths[:, None], tokens, np.int32(PADDING))
        return inputs, lengths.astype(np.int32)
