"""The laws of the batcher, over random corpora, batch sizes and orders of asking."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data.batch import Batch, Batches
from experiments.data.shuffling import FILLER, split_validation
from experiments.data.text import Corpus
from experiments.data.text_batches import PaddedTexts, best_boundaries
from jaxrnn import parallel

GOLDEN_0 = [[7, 1, 5], [0, 2, 4], [3, 6, -1]]
GOLDEN_7 = [[7, 4, 0], [5, 3, -1], [2, 6, 1]]
GOLDEN_SPLIT = [3, 6]


def corpus_of(lengths: list[int]) -> Corpus:
    """Texts of these lengths; every id occurs once, so that any mix-up shows."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.arange(1, offsets[-1] + 1, dtype=np.int32)
    return Corpus(tokens, offsets, (np.arange(len(lengths)) % 7).astype(np.int32))


def batches_of(corpus, rows, size, max_length, truncate="head", boundaries=None) -> Batches:
    return Batches(PaddedTexts(corpus, max_length, truncate, boundaries), rows, size)


@st.composite
def batchers(draw) -> Batches:
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=40))
    corpus = corpus_of(lengths)
    rows = draw(st.none() | st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    max_length = draw(st.integers(1, 14))
    inner = draw(st.none() | st.sets(st.integers(1, max_length)))
    boundaries = None if inner is None else tuple(sorted(inner | {max_length}))
    texts = PaddedTexts(corpus, max_length, draw(st.sampled_from(["head", "tail"])), boundaries)
    return Batches(texts, None if rows is None else np.array(rows), draw(st.integers(1, 9)))


def wanted(batcher: Batches) -> list[int]:
    return sorted(batcher.rows.tolist())


def same(a: Batch, b: Batch) -> bool:
    pairs = zip((*a.examples, a.rows), (*b.examples, b.rows), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def seen(batches: list[Batch]) -> list[int]:
    return sorted(row for batch in batches for row in batch.rows.tolist() if row != FILLER)


def check(batch: Batch, corpus: Corpus, batch_size: int, max_length: int, truncate: str) -> None:
    """A batch equals its texts cut and padded one by one."""
    assert batch.examples.inputs.shape[0] == batch_size
    dtypes = [field.dtype for field in (*batch.examples, batch.rows)]
    assert dtypes == [np.int32, np.int32, np.int32, np.float32, np.int64]
    for tokens, length, label, weight, row in zip(*batch.examples, batch.rows, strict=True):
        text = corpus.tokens[corpus.offsets[row] : corpus.offsets[row + 1]].tolist()
        if row == FILLER:
            text, expected = [], (0, 0)
        else:
            text = text[-max_length:] if truncate == "head" else text[:max_length]
            expected = (corpus.labels[row], 1)
        assert tokens.tolist() == text + [0] * (len(tokens) - len(text))
        assert length == len(text)
        assert (label, weight) == expected


@given(batchers(), st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_an_epoch_is_a_permutation(batcher: Batches, seed: int, epoch: int) -> None:
    batches = [batcher.train(seed, epoch, step) for step in range(batcher.steps_per_epoch)]
    assert seen(batches) == wanted(batcher)
    weight = sum(batch.examples.weights.sum() for batch in batches)
    assert batcher.examples == len(wanted(batcher)) == weight
    assert {batch.examples.inputs.shape[1] for batch in batches} <= set(batcher.source.boundaries)


def test_a_last_batch_that_is_not_full_is_trained_on():
    batcher = batches_of(corpus_of([3, 1, 4, 1, 5]), None, 2, 6)
    assert batcher.steps_per_epoch == 3
    assert seen([batcher.train(0, 0, step) for step in range(3)]) == [0, 1, 2, 3, 4]


@settings(max_examples=30, deadline=None)
@given(batchers(), st.integers(0, 2**64 - 1), st.integers(0, 10**6), st.sampled_from([1, 2, 4, 8]))
def test_every_process_has_its_rows_and_all_have_all(batcher, seed, epoch, processes) -> None:
    """Each makes the whole batch and keeps its own rows of it (`parallel.shard`)."""
    size = batcher.batch_size * processes
    each = [Batches(batcher.source, batcher.rows, size) for _ in range(processes)]
    mesh, kept = parallel.mesh(processes), []
    for step in range(each[0].steps_per_epoch):
        made = [one.train(seed, epoch, step) for one in each]
        for process, batch in enumerate(made):
            placed = parallel.shard(batch.examples.lengths, mesh).addressable_shards[process]
            rows = batch.rows[placed.index[0]]
            np.testing.assert_array_equal(placed.data, batch.examples.lengths[placed.index[0]])
            assert len(rows) == batcher.batch_size
            kept += [row for row in rows.tolist() if row != FILLER]
    assert sorted(kept) == wanted(batcher)


@settings(max_examples=60, deadline=None)
@given(batchers(), st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_restarted_at_every_step_it_gives_the_same_rest(batcher, seed, epoch) -> None:
    straight = [batcher.train(seed, epoch, step) for step in range(batcher.steps_per_epoch)]
    for start in range(batcher.steps_per_epoch):
        again = Batches(batcher.source, batcher.rows, batcher.batch_size)
        for step in range(start, batcher.steps_per_epoch):
            np.testing.assert_array_equal(again.train(seed, epoch, step).rows, straight[step].rows)


@given(batchers())
def test_evaluation_counts_every_example_once(batcher: Batches) -> None:
    batches = list(batcher.evaluation())
    assert seen(batches) == wanted(batcher)
    assert len(batches) == batcher.steps_per_epoch
    again = list(batcher.evaluation())
    for a, b in zip(batches, again, strict=True):
        np.testing.assert_array_equal(a.examples.inputs, b.examples.inputs)
        np.testing.assert_array_equal(a.rows, b.rows)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(1, 14),
    st.sampled_from(["head", "tail"]),
)
def test_a_batch_is_its_texts(
    lengths: list[int], batch_size: int, max_length: int, truncate
) -> None:
    corpus = corpus_of(lengths)
    batcher = batches_of(corpus, None, batch_size, max_length, truncate)
    trained = [batcher.train(3, 1, step) for step in range(batcher.steps_per_epoch)]
    for batch in [*trained, *batcher.evaluation()]:
        check(batch, corpus, batch_size, max_length, truncate)


@settings(max_examples=60)
@given(batchers(), st.data())
def test_a_batch_is_a_function_of_seed_epoch_step(batcher: Batches, data) -> None:
    asked = st.tuples(
        st.integers(0, 2), st.integers(0, 2), st.integers(0, batcher.steps_per_epoch - 1)
    )
    first: dict[tuple[int, int, int], Batch] = {}
    for key in data.draw(st.lists(asked, min_size=2, max_size=12)):
        batch = batcher.train(*key)
        assert same(first.setdefault(key, batch), batch)
    fresh = Batches(batcher.source, batcher.rows, batcher.batch_size)
    for key, batch in first.items():
        np.testing.assert_array_equal(fresh.train(*key).rows, batch.rows)


def test_the_stream_is_fixed_for_ever() -> None:
    # A run that is resumed under another NumPy has to meet the same batches.
    batcher = batches_of(corpus_of([3, 9, 1, 7, 2, 8, 5, 4]), None, 3, 8, boundaries=(4, 8))
    assert batcher.plan(0, 0).rows.tolist() == GOLDEN_0
    assert batcher.plan(7, 2).rows.tolist() == GOLDEN_7
    assert split_validation(8, 0.25, 1)[1].tolist() == GOLDEN_SPLIT


def test_epochs_and_seeds_differ_in_order_and_company() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 500)
    batcher = batches_of(corpus_of(lengths.tolist()), None, 16, 50)
    plans = [batcher.plan(seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for a, b in itertools.combinations(plans, 2):
        assert (a.rows != b.rows).mean() > 0.9
        companies = [{frozenset(batch) for batch in plan.rows.tolist()} for plan in (a, b)]
        assert len(companies[0] & companies[1]) == 0
    # Short batches do not all come first.
    assert np.any(np.diff(plans[0].details) < 0)
    assert np.any(np.diff(plans[0].details) > 0)


def test_shuffling_is_fair() -> None:
    # Each of 6 examples in each of 6 places: 1000 +- 29 times of 6000.
    batcher = batches_of(corpus_of([5] * 6), None, 1, 5)
    orders = np.stack([batcher.plan(0, epoch).rows[:, 0] for epoch in range(6000)])
    counts = np.stack([(orders == row).sum(0) for row in range(6)])
    assert abs(counts - 1000).max() < 5 * 29


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 8), st.integers(1, 4))
def test_boundaries_waste_the_least(lengths: list[int], max_length: int, shapes: int) -> None:
    cut = np.minimum(lengths, max_length)

    def padded(boundaries: tuple[int, ...]) -> int:
        return sum(min(b for b in boundaries if b >= n) for n in cut)

    found = best_boundaries(np.array(lengths), max_length, shapes)
    assert found == tuple(sorted(set(found)))
    assert found[-1] == max_length
    assert len(found) <= shapes
    others = itertools.combinations(range(1, max_length), min(shapes, max_length) - 1)
    assert padded(found) == min(padded((*inner, max_length)) for inner in others)


def test_batches_are_of_similar_length() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.6, 20_000).astype(int) + 1
    batcher = batches_of(corpus_of(lengths.tolist()), None, 128, 500)
    plan = batcher.plan(0, 0)
    waste = 1 - np.minimum(lengths, 500).sum() / (128 * plan.details.sum())
    assert waste < 0.18  # one shape: 0.67
    assert len(set(plan.details.tolist())) <= 6


def test_a_batch_takes_less_than_a_millisecond() -> None:
    batcher = batches_of(corpus_of([500] * 5000), None, 128, 500)
    batcher.plan(0, 0)
    times = []
    for step in range(batcher.steps_per_epoch):
        start = time.perf_counter()
        batcher.train(0, 0, step)
        times.append(time.perf_counter() - start)
    # The fastest third: others may be using this machine.
    assert np.quantile(times, 1 / 3) < 1e-3


@given(st.integers(2, 300), st.floats(0, 0.99), st.integers(0, 2**64 - 1))
def test_split_is_a_partition(n: int, fraction: float, seed: int) -> None:
    train, validation = split_validation(n, fraction, seed)
    assert sorted([*train, *validation]) == list(range(n))
    for rows in (train, validation):
        assert np.all(np.diff(rows) > 0)
        assert rows.dtype == np.int64
    assert len(train) >= 1
    assert (len(validation) >= 1) == (fraction > 0)
    assert abs(len(validation) - n * fraction) <= 1
    again = split_validation(n, fraction, seed)
    np.testing.assert_array_equal(validation, again[1])


def test_split_depends_on_the_seed() -> None:
    held = [split_validation(1000, 0.2, seed)[1] for seed in (0, 1)]
    assert [len(rows) for rows in held] == [200, 200]
    assert len(np.intersect1d(*held)) < 100


def test_mistakes_name_the_numbers() -> None:
    corpus = corpus_of([3, 4])
    with pytest.raises(ValueError, match="rows are"):
        batches_of(corpus, np.array([2]), 1, 5)
    with pytest.raises(ValueError, match="rows are"):
        batches_of(corpus, np.array([], int), 1, 5)
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches_of(corpus, None, 0, 5)
    with pytest.raises(ValueError, match="max_length is 0"):
        batches_of(corpus, None, 1, 0)
    with pytest.raises(ValueError, match="truncate is 'middle'"):
        batches_of(corpus, None, 1, 5, "middle")  # type: ignore[arg-type]
    for boundaries in ((2, 4), (4, 2, 5), ()):
        with pytest.raises(ValueError, match="boundaries are"):
            batches_of(corpus, None, 1, 5, boundaries=boundaries)
    batcher = batches_of(corpus, None, 1, 5)
    with pytest.raises(ValueError, match="step is 2; an epoch has 2"):
        batcher.train(0, 0, 2)
    with pytest.raises(ValueError, match="seed is -1"):
        batcher.train(-1, 0, 0)
    with pytest.raises(ValueError, match="fraction is 1"):
        split_validation(10, 1, 0)
    with pytest.raises(ValueError, match="n is 1; 2 examples"):
        split_validation(1, 0.5, 0)
