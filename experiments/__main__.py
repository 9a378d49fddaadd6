"""Lists the commands: `python -m experiments`. The map of the house, README.md, describes them."""

import re
import textwrap
from pathlib import Path

ROW = re.compile(r"^\| `(python -m experiments\.[^`]+)` \| ([^|]+) \|", re.MULTILINE)


def main() -> None:
    """Print each command with what it does."""
    rows = ROW.findall(Path(__file__).with_name("README.md").read_text(encoding="utf-8"))
    for command, purpose in rows:
        print(command)
        print(textwrap.fill(purpose.replace("`", "").strip(), 76, initial_indent="    "))
    print("\nEach lists its settings with --help.")


if __name__ == "__main__":
    main()
