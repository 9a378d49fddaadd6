"""Tells which run this is: what is computed, from what data, and by what."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jax

import jaxrnn
from experiments.config.cli import UserError, flag
from experiments.config.settings import ADDED_LATER
from experiments.runs.directory import FREE
from experiments.runs.environment import machine, versions
from experiments.runs.seal import is_same, names_digest


def describe(
    *,
    task: str,
    title: str,
    dataset: str,
    classes: Sequence[str],
    data: Mapping[str, str],
    settings: Mapping[str, Any],
    devices: Sequence[str],
) -> dict[str, Any]:
    """What `config.json` holds: these, and all else that decides what is computed."""
    return {
        "id": uuid.uuid4().hex,  # two runs of the same settings are two runs
        "task": task,
        "title": title,
        "dataset": dataset,
        "classes": list(classes),
        "data": {**data, "classes": names_digest(classes)},
        "settings": dict(settings),
        "versions": versions(),
        "machine": machine(),
        "engines": [name for name, why_not in jaxrnn.engines.available().items() if not why_not],
        "random": _random(),
        "devices": list(devices),
    }


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Raise `UserError` unless a resumed run's settings and data are those it began with.

    Returns:
        A line for each version, machine and device that is another than before: they change the
        last digits of sums, and nothing of data, keys and order.
    """
    faults = []
    if before.get("dataset") != now["dataset"]:
        faults.append(
            f"this run was trained on {before.get('dataset')}, and the data is {now['dataset']} now"
        )
    was = before.get("settings", {})
    for name, new in now["settings"].items():
        old = was.get(name, new if name in ADDED_LATER and not new else None)
        if name in FREE or is_same(name, old, new):
            continue
        if name != "epochs" or not _may_grow(was, old, new):
            faults.append(f"{flag(name)} is {new}, but this run was started with {old}")
            if name == "epochs":
                faults.append(
                    f"its learning rate follows a schedule ({was.get('schedule')}) that ends there:"
                    " begin a new run from its weights with --init-from"
                )
    for name, new in now["data"].items() if not faults else ():
        old = before.get("data", {}).get(name, new)  # older runs did not write it down
        if old != new:
            faults.append(
                f"the {name} data is not what this run was started with (SHA-256 {str(old)[:12]}, "
                f"now {new[:12]}); give the same, or begin another run"
            )
    if faults:
        raise UserError(f"--resume: {'; '.join(faults)}")
    then = {**before.get("versions", {}), "devices": before.get("devices")}
    today = {**now["versions"], "devices": now["devices"]}
    for name in ("machine", "engines"):
        if name in before:
            then[name], today[name] = before[name], now[name]
    lines = [
        f"{name}: {then.get(name)} when this run was started, {today[name]} now. Data, order and "
        "keys are the same; sums may differ in their last digits."
        for name in today
        if then.get(name) != today[name]
    ]
    if before.get("random", now["random"]) != now["random"]:
        lines.append(
            "jax draws other random numbers than when this run was started (its version, or its "
            "settings in the environment): dropout has other masks from here. Data and order are "
            "the same."
        )
    return lines


def has_more_epochs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run is to be trained on for longer than it was begun with."""
    return bool(now["settings"]["epochs"] > before["settings"].get("epochs", 0))


def _may_grow(settings: Mapping[str, Any], old: Any, new: int) -> bool:
    """Whether more epochs change nothing of those that were trained: no schedule ends with them."""
    return settings.get("schedule") == "constant" and isinstance(old, int) and new > old


def _random() -> str:
    """Tells the generator: jax's default one, its variants and versions draw different bits."""
    bits = jax.random.bits(jax.random.fold_in(jax.random.key(0), 1), (16,))
    return hashlib.sha256(bits.tobytes()).hexdigest()[:16]
