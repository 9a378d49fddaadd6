"""Batches of similar length, each a pure function of (seed, epoch, step).

An epoch permutes the examples, sorts them (stably) into a few length buckets, cuts them into
batches and permutes the batches:

    shuffled = permutation(seed, epoch)
    sorted   = shuffled, by bucket of its length; ties stay shuffled
    batch k  = sorted[k*B : (k+1)*B], padded to the largest bucket in it
    step s   = batch order[s], order another permutation from the same generator

So nothing is lost or seen twice, a run can start again at any step, and the few padded lengths
are the only shapes that a compiled step meets.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from experiments.data.corpus import Corpus
from experiments.data.shuffling import (
    FILLER,
    cut,
    generator,
    permutation,
    rows_to_use,
    split_validation,
)
from experiments.data.text import PADDING

__all__ = ["FILLER", "Batch", "Batches", "best_boundaries", "split_validation"]

# Each shape compiles once. Of all steps of 20,000 IMDB reviews at max_length 500, B = 128, six
# shapes waste 13.6% on padding; four 18.5%, eight 11.1%, a single one 56%.
SHAPES = 6


class Batch(NamedTuple):
    """`B` examples padded behind to `L` steps.

    Fields:
      tokens: int32 [B, L], `PADDING` from each length on.
      lengths: int32 [B], 0 on rows that only fill the last batch.
      labels: int32 [B], 0 on those rows.
      weights: float32 [B], 0 on those rows and 1 elsewhere.
      rows: int64 [B], the example's number in the corpus; `FILLER` on those rows.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


class Plan(NamedTuple):
    """Which examples stand in which batch: rows int64 [steps, B], padded lengths int64 [steps]."""

    rows: np.ndarray
    lengths: np.ndarray


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


class Batches:
    """The batches of some examples of a corpus.

    Args:
      corpus: the texts.
      rows: int [n], the examples to use, e.g. from `split_validation`; None for all.
      batch_size: examples per batch; the last batch is filled with rows of weight 0.
      max_length: longer texts are cut.
      truncate: `head` cuts the head off and keeps the end, `tail` cuts the tail off.
      boundaries: the padded lengths, the last one `max_length`. Default: `best_boundaries` of the
        whole corpus, hence the same shapes for the training and the validation part of one
        corpus. Hand one's `boundaries` to the other to share shapes between two corpora.

    Raises:
      ValueError: no rows, a row outside the corpus, a size below 1, or bad boundaries.
    """

    def __init__(
        self,
        corpus: Corpus,
        rows: np.ndarray | None,
        batch_size: int,
        max_length: int,
        truncate: Literal["head", "tail"] = "head",
        boundaries: tuple[int, ...] | None = None,
    ) -> None:
        self._rows = rows_to_use(rows, len(corpus.labels), batch_size)
        if truncate not in ("head", "tail"):
            raise ValueError(f"truncate is {truncate!r}; give 'head' or 'tail'")
        if boundaries is None:
            boundaries = best_boundaries(corpus.lengths, max_length)
        if boundaries != tuple(sorted(set(boundaries))) or boundaries[-1:] != (max_length,):
            raise ValueError(f"boundaries are {boundaries}; let them rise to {max_length}")
        self.corpus, self.batch_size, self.boundaries = corpus, batch_size, boundaries
        # Something to look up even where all texts are empty.
        self._tokens = corpus.tokens if corpus.tokens.size else np.zeros(1, np.int32)
        self._lengths = np.minimum(corpus.lengths, max_length)
        cut = corpus.lengths - self._lengths if truncate == "head" else 0
        self._starts = corpus.offsets[:-1] + cut
        self._bucket = np.searchsorted(boundaries, self._lengths).astype(np.uint16)
        self._last: tuple[tuple[int, int], Plan] | None = None

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self._rows)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches, the filled one included."""
        return -(-len(self._rows) // self.batch_size)

    def epoch_plan(self, seed: int, epoch: int) -> Plan:
        """All batches of an epoch in their order, a pure function of `(seed, epoch)`.

        Raises:
          ValueError: `seed` or `epoch` is negative, or does not fit into 64 bits.
        """
        # The plan costs as much as several batches; the loop asks for one epoch at a time.
        if self._last is not None and self._last[0] == (seed, epoch):
            return self._last[1]
        source = generator(seed, epoch)
        rows = self._rows[permutation(source, len(self._rows))]
        plan = self._cut(rows[np.argsort(self._bucket[rows], kind="stable")])
        order = permutation(source, self.steps_per_epoch)
        plan = Plan(plan.rows[order], plan.lengths[order])
        self._last = (seed, epoch), plan
        return plan

    def train(self, seed: int, epoch: int, step: int) -> Batch:
        """Batch `step` of an epoch, 0 <= step < steps_per_epoch."""
        plan = self.epoch_plan(seed, epoch)
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step is {step}; an epoch has {self.steps_per_epoch}")
        return self._gather(plan.rows[step], int(plan.lengths[step]))

    def evaluation(self) -> Iterator[Batch]:
        """Every example once, sorted by length, always in the same order."""
        plan = self._cut(self._rows[np.argsort(self._lengths[self._rows], kind="stable")])
        for rows, length in zip(plan.rows, plan.lengths, strict=True):
            yield self._gather(rows, int(length))

    def _cut(self, rows: np.ndarray) -> Plan:
        """Cut ordered rows into batches; one that spans buckets gets the larger length."""
        filled = cut(rows, self.batch_size)
        # A filler never asks for more than its neighbours have.
        bucket = np.where(filled == FILLER, 0, self._bucket[filled])
        return Plan(filled, np.array(self.boundaries)[bucket.max(1)])

    def _gather(self, rows: np.ndarray, length: int) -> Batch:
        real = rows != FILLER
        lengths = np.where(real, self._lengths[rows], 0)
        at = np.arange(length)
        # Clipped: behind the last text nothing is there to read; the mask drops it anyway.
        tokens = self._tokens.take(self._starts[rows][:, None] + at, mode="clip")
        return Batch(
            tokens=np.where(at < lengths[:, None], tokens, np.int32(PADDING)),
            lengths=lengths.astype(np.int32),
            labels=np.where(real, self.corpus.labels[rows], np.int32(0)),
            weights=real.astype(np.float32),
            rows=rows,
        )
