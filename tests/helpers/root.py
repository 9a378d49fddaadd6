"""Says where the project lies, what its commands are, and how a process of one device starts."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    {path.stem for path in ROOT.glob("experiments/*.py")} - {"__init__", "__main__"}
    | {path.parent.name for path in ROOT.glob("experiments/*/__main__.py")}
)


def one_device() -> dict[str, str]:
    """Return the environment of a process with one device, that compiles as the tests do."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    return os.environ | {"XLA_FLAGS": flags}
