"""Holds medians, quartiles, means and ratios to NumPy, and to the right libraries."""

import numpy as np
import pytest

from experiments.benchmark import statistics, workers
from experiments.benchmark.statistics import noisy, summary


@pytest.mark.parametrize("count", [1, 2, 3, 4, 15])
def test_statistics_are_numpys(count):
    seconds = np.random.default_rng(count).exponential(size=count)
    found = summary(list(seconds))
    expected = np.percentile(seconds, [25, 50, 75])
    np.testing.assert_allclose([found[k] for k in ("q1", "median", "q3")], expected, rtol=1e-14)
    assert noisy(found) == bool(expected[2] - expected[0] > 0.2 * expected[1])


def test_ratios_are_medians_by_ours():
    libraries = [workers.ours("scan"), *workers.PEERS]
    medians = {"scan": 2.0, "lax.scan": 5.0, "flax": 3.0, "torch": 1.0}
    entries = {name: {"forward": {"median": m}, "both": {"median": 10 * m**2}}
               for name, m in medians.items()} | {"keras-tf": {"error": "no"}}  # fmt: skip
    found = statistics.ratios(entries, libraries)["scan"]["forward"]
    assert found == {
        "any": {"peer": "torch", "ratio": 0.5},
        "jax": {"peer": "flax", "ratio": 1.5},
        "torch": {"peer": "torch", "ratio": 0.5},
    }
    measured = [{"ratios": statistics.ratios(entries, libraries)}] * 2
    means = statistics.means(measured, libraries)["scan"]
    # Of 1.5 forward and 2.25 with backward, twice: twice and half as fast would make one.
    mean = pytest.approx((1.5 * 2.25) ** 0.5, rel=1e-12)
    assert means["jax"] == {"mean": mean, "least": 1.5, "count": 4}
    assert "tensorflow" not in means, "it was not timed"
