"""Writes tables in Markdown, and the line below each that says where its figures come from.

In this room because a table, as a picture, is made from the files of a run alone, and both
`report` and `benchmark` write some.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def cell(text: str) -> str:
    """Anybody's text in a cell: a bar or a line break would end it."""
    return " ".join(text.replace("|", "\\|").split())


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows with the same keys as a table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *[list(row.values()) for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def conditions(configs: Sequence[Mapping[str, Any]]) -> str:
    """Machines and versions that gave the figures, each once: a line of small print."""
    lines: dict[str, None] = {}
    for config in configs:
        numbers = config.get("versions", {})
        names = [name for name in ("python", "jax", "flax", "optax") if name in numbers]
        versions = ", ".join(f"{name} {numbers[name]}" for name in names)
        lines[f"{config.get('machine', 'machine not recorded')}; {versions}"] = None
    return f"Measured on {'; and on '.join(lines)}."
