"""Where the project lies, and its commands."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    {path.stem for path in ROOT.glob("experiments/*.py")} - {"__init__", "__main__"}
    | {path.parent.name for path in ROOT.glob("experiments/*/__main__.py")}
)
