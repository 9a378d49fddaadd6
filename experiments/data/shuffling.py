"""Orders examples: permutations, splits and cuts that are functions of their seed alone.

All numbers come from the raw bits of a counter-based generator: NumPy promises that their stream
never changes, but not that of `Generator.permutation`.
"""

import numpy as np

# Stands in a batch where no example does.
FILLER = -1

# Which word of the key the generator gets for the split, out of reach of any epoch.
_SPLIT = 2**64 - 1
# And for the test, out of reach of `image_batches._ORDER` too.
_TEST = 2**64 - 3


def generator(seed: int, stream: int) -> np.random.Philox:
    """Random bits that depend on this key alone, so that no earlier epoch has to be drawn."""
    if not (0 <= seed < 2**64 and 0 <= stream < 2**64):
        raise ValueError(f"seed is {seed} and epoch {stream}; give numbers from 0 to 2**64 - 1")
    return np.random.Philox(key=np.array([seed, stream], np.uint64))


def permutation(source: np.random.Philox, n: int) -> np.ndarray:
    """The numbers 0 to n-1 in random order, int64 [n]."""
    return np.argsort(source.random_raw(n), kind="stable")


def uniform(source: np.random.Philox, n: int) -> np.ndarray:
    """`n` numbers in [0, 1), float64 [n]."""
    return (source.random_raw(n) >> np.uint64(11)) * 2.0**-53


def split_validation(n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the numbers 0 to n-1 at random: `(train_rows, validation_rows)`, both sorted, int64.

    `round(n * fraction)` go to validation: at least one where `fraction` is positive, and never
    all.

    Raises:
        ValueError: `fraction` is not in [0, 1), or `n` is too small to divide.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction is {fraction}; give a number at least 0 and below 1")
    if n < 1 + (fraction > 0):
        raise ValueError(f"n is {n}; {1 + (fraction > 0)} examples are needed")
    held = min(max(round(n * fraction), int(fraction > 0)), n - 1)
    shuffled = permutation(generator(seed, _SPLIT), n)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])


def split_test(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows at random: `(train_rows, test_rows)`, both sorted, int64; of each label alike.

    Of a label with `n` rows `round(n * fraction)` are tested on: at least one where there are two,
    and never all.
    """
    shuffled = permutation(generator(seed, _TEST), len(labels))
    held: list[np.ndarray] = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        held.append(rows[: min(max(round(len(rows) * fraction), 1), len(rows) - 1)])
    test = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), test), test


def cut(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Ordered rows cut into batches, int64 [steps, batch_size]; the last one is filled up."""
    steps = -(-len(rows) // batch_size)
    filled = np.full(steps * batch_size, FILLER, np.int64)
    filled[: len(rows)] = rows
    return filled.reshape(steps, batch_size)
