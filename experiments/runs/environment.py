"""Names the kind of machine and the versions on it: a figure without them says nothing."""

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path


def processor() -> str:
    """All that the system says of what the processor can do, for what is compiled for it."""
    # "flags" on x86, "Features" on Arm.
    words = {platform.machine(), platform.processor()}
    return "\n".join(sorted(words | {*_cpuinfo("model name", "flags", "Features")}))


def machine() -> str:
    """The processor and how many cores this process may use: "AMD EPYC, 2 cores"."""
    name = platform.processor() or platform.machine()
    # Python's own answer is empty on most Linux systems.
    for line in _cpuinfo("model name")[:1]:
        name = line.partition(":")[2].strip() or name
    return f"{name}, {cores()} core{'s' if cores() != 1 else ''}"


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of memory that this process may use; None where the system does not say."""
    sizes = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no `sysconf`
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # a container's; "max" where it has none
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes, default=None)


def _cpuinfo(*names: str) -> list[str]:
    """Linux's lines of these names, of every core; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith(names)]


PACKAGES = ("jaxrnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Of Python and the packages that decide what is computed, as far as they are installed."""
    numbers = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            numbers[name] = importlib.metadata.version(name)
    return numbers
