"""Tables in Markdown, and the line below each that says where its figures come from."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows with the same keys as a table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *[list(row.values()) for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def conditions(configs: Sequence[Mapping[str, Any]]) -> str:
    """Machines and versions that gave the figures, each once: a line of small print."""
    found = dict.fromkeys(
        f"{config.get('machine', 'machine not recorded')}; "
        + ", ".join(
            f"{name} {config['versions'][name]}"
            for name in ("python", "jax", "flax", "optax")
            if name in config.get("versions", {})
        )
        for config in configs
    )
    return "Measured on " + "; and on ".join(found) + "."
