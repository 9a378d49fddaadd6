"""The kind of machine and the versions on it: a figure without them says nothing."""

import importlib.metadata
import os
import platform
from pathlib import Path


def processor() -> str:
    """All that the system says of what the processor can do, for what is compiled for it."""
    # "flags" on x86, "Features" on Arm.
    said = {platform.machine(), platform.processor(), *_cpuinfo("model name", "flags", "Features")}
    return "\n".join(sorted(said))


def machine() -> str:
    """The processor and how many cores this process may use: "AMD EPYC, 2 cores"."""
    name = platform.processor() or platform.machine()
    # Python's own answer is empty on most Linux systems.
    for line in _cpuinfo("model name")[:1]:
        name = line.partition(":")[2].strip() or name
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


def _cpuinfo(*names: str) -> list[str]:
    """Linux's lines of these names, of every core; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith(names)]


def versions() -> dict[str, str]:
    """Of Python and the packages that decide what is computed."""
    packages = ("jaxrnn", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version()} | found
