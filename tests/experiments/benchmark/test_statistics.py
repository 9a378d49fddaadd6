"""Medians, quartiles, means and ratios equal NumPy's, and are of the right libraries."""

import numpy as np
import pytest

from experiments.benchmark import statistics, workers
from experiments.benchmark.statistics import best, geometric_mean, noisy, summary


@pytest.mark.parametrize("count", [1, 2, 3, 4, 15])
def test_statistics_are_numpys(count):
    seconds = np.random.default_rng(count).exponential(size=count)
    found = summary(list(seconds))
    expected = np.percentile(seconds, [25, 50, 75])
    # The same two sums of two float64.
    np.testing.assert_allclose([found[k] for k in ("q1", "median", "q3")], expected, rtol=1e-14)
    mean = geometric_mean(seconds)
    np.testing.assert_allclose(mean, np.exp(np.mean(np.log(seconds))), rtol=1e-14)
    assert noisy(found) == bool(expected[2] - expected[0] > 0.2 * expected[1])
    assert best({str(k): s for k, s in enumerate(seconds)})[1] == seconds.min()


def test_of_nothing_there_is_no_mean_and_no_best():
    assert geometric_mean([]) is None
    assert best({}) is None


def test_ratios_are_medians_by_ours():
    libraries = [workers.ours("scan"), *workers.PEERS]
    medians = {"scan": 2.0, "lax.scan": 5.0, "flax": 3.0, "torch": 1.0}
    entries = {name: {"forward": {"median": m}, "both": {"median": 10 * m}}
               for name, m in medians.items()} | {"keras-tf": {"error": "no"}}  # fmt: skip
    found = statistics.ratios(entries, libraries)["scan"]["forward"]
    assert found == {
        "any": {"peer": "torch", "ratio": 0.5},
        "jax": {"peer": "flax", "ratio": 1.5},
        "torch": {"peer": "torch", "ratio": 0.5},
    }
    measured = [{"ratios": statistics.ratios(entries, libraries)}] * 2
    means = statistics.means(measured, libraries)["scan"]
    assert means["jax"] == {"mean": pytest.approx(1.5, rel=1e-12), "least": 1.5, "count": 4}
