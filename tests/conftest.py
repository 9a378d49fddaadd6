"""Says how every test runs: eight simulated devices, annotations executed."""

import itertools
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

# Before anything imports jax.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["KERAS_BACKEND"] = "jax"
# Compiling is most of the time: a program is compiled once for all workers and for the processes
# that they start, and kept for the next run. Without jax's own limit on its size, which reads every
# entry's time at each write: 0.4 s a program with 1,600 of them.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(__file__).resolve().parents[1] / ".pytest_cache" / "compiled"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# What is left of compiling takes a third of the time with few of XLA's optimizations, which are not
# what is tested here; JAX_DISABLE_MOST_OPTIMIZATIONS=0 runs the tests with all of them. A jaxlib
# stops at flags that it does not know: these are those of 0.10.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
        and version("jaxlib").startswith("0.10.")
        else "",
    )
)

import jax
import jaxtyping
import pytest

# Where a shell runs the tests in its background they ignore Ctrl-C, and under `nohup` the end of
# the terminal; and so would every process of theirs: what the tests of signals are about.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)

# Shapes in the library's annotations are checked at every call, here and nowhere else.
_hook = jaxtyping.install_import_hook("jaxrnn", "beartype.beartype")
_hook.__enter__()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the kept programs anew when there are too many."""
    compiled = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    is_worker = hasattr(config, "workerinput")
    if not is_worker and compiled.is_dir() and len(os.listdir(compiled)) > 9000:
        shutil.rmtree(compiled)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of each table marked `pairs`, keep rows in which every pair of values occurs.

    The others are slow: by hand the table runs as a whole. Most faults need two values to meet
    (a cell and an engine, an engine and a transform), hardly any three.
    """
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("pairs"):
            tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for rows in tables.values():
        pairs = {row: set(itertools.combinations(_values(row), 2)) for row in rows}
        missing = set().union(*pairs.values())
        while missing:
            best = max(pairs, key=lambda row: len(pairs[row] & missing))
            missing -= pairs.pop(best)
        for row in pairs:
            row.add_marker(pytest.mark.slow)


def _values(row: pytest.Item) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in row.callspec.params.items())  # type: ignore


@pytest.fixture
def strict_dtypes():
    """No dtype is promoted silently. For the library's own tests: optax does not pass this."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def data_dir() -> str:
    """A TFDS data directory with the real reviews; only to be read."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "tensorflow_datasets"
    found = Path(os.environ.get("JAXRNN_DATA_DIR", beside))
    if not (found / "imdb_reviews").is_dir():
        pytest.skip("needs IMDB: set JAXRNN_DATA_DIR to a TFDS data_dir where it is prepared")
    return str(found)
