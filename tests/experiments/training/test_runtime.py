"""Large blocks are mapped once, not at every allocation."""

import platform
import subprocess
import sys

import pytest

# Page faults while a block of 64 MB is taken, written and given back ten times.
COUNT = """
import resource, sys
import numpy as np
from experiments.training import runtime

assert sys.argv[1] == "as it is" or runtime.reuse()
np.ones(2**24, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**24, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that unmaps them")
def test_a_large_block_is_used_again() -> None:
    # With huge pages a fault is 2 MB and there are 320 for the ten blocks, else 163,840.
    assert faults("reused") < faults("as it is") / 10


def test_where_there_is_no_glibc_nothing_happens(monkeypatch) -> None:
    from experiments.training import runtime

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not runtime.reuse()
