"""Lists the commands: `python -m experiments`. The map of the house, README.md, describes them."""

import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

ROW = re.compile(r"^\| `(python -m experiments\.[^`]+)` \| ([^|]+) \|", re.MULTILINE)
INDENTED: Any = {"initial_indent": "    ", "subsequent_indent": "    "}


def main() -> None:
    """Print each command with what it does."""
    rows = ROW.findall(Path(__file__).with_name("README.md").read_text(encoding="utf-8"))
    for command, purpose in rows:
        print(command)
        width = min(76, shutil.get_terminal_size().columns)
        print(textwrap.fill(purpose.replace("`", "").strip(), width, **INDENTED))
    print("\nEach lists its settings with --help.")


if __name__ == "__main__":
    main()
