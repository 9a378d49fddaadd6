"""Tell which run this is: what is computed, from what data, and by what.

The files of a run can be edited, exchanged with another run's or put back from an old copy, each
whole in itself. So settings and digests of the data stand in every checkpoint, under its seal, and
in `config.json`; where the two differ, nothing is trained and nothing is answered.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import jaxrnn
from experiments.config.cli import UserError, flag
from experiments.runs.directory import FREE
from experiments.runs.environment import machine, versions


def describe(
    *,
    task: str,
    title: str,
    dataset: str,
    data: Mapping[str, str],
    settings: Mapping[str, Any],
    devices: Sequence[str],
) -> dict[str, Any]:
    """What `config.json` holds: these, and all else that decides what is computed."""
    return {
        "task": task,
        "title": title,
        "dataset": dataset,
        "data": dict(data),
        "settings": dict(settings),
        "versions": versions(),
        "machine": machine(),
        "engines": [name for name, why_not in jaxrnn.engines.available().items() if not why_not],
        "random": _random(),
        "devices": list(devices),
    }


def fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that decides what is computed, for the seal of a checkpoint."""
    settings = {name: value for name, value in config["settings"].items() if name not in FREE}
    return {"dataset": config["dataset"], "data": config["data"], "settings": settings}


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Raise `UserError` unless a resumed run's settings and data are those it began with.

    Returns:
        A line for each version, machine and device that is another than before: they change the
        last digits of sums, and nothing of data, keys and order.
    """
    if before.get("dataset") != now["dataset"]:
        raise UserError(
            f"--resume: this run was trained on {before.get('dataset')}, "
            f"and the data is {now['dataset']} now"
        )
    for name, new in now["settings"].items():
        old = before.get("settings", {}).get(name)
        if name not in FREE and old != new:
            raise UserError(f"--resume: {flag(name)} is {new}, but this run was started with {old}")
    for name, new in now["data"].items():
        old = before.get("data", {}).get(name, new)  # older runs did not write it down
        if old != new:
            raise UserError(
                f"--resume: the {name} data is not what this run was started with (SHA-256 "
                f"{str(old)[:12]}, now {new[:12]}); give the same --data-dir, or begin another run"
            )
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


def check_sealed(meta: Mapping[str, Any], known: Mapping[str, Any], where: Path) -> None:
    """Raise `UserError` where the `fixed` in a checkpoint's `meta` contradicts what is known.

    Only what both name is compared: older checkpoints lack it, and who asks may not have the data.
    """
    if not isinstance(meta.get("rows"), list):
        raise UserError(f"{where} is no checkpoint of a training; give the run's own checkpoints")
    sealed = meta.get("run")
    if not isinstance(sealed, Mapping):
        return
    for part in ("settings", "data"):
        was, now = sealed.get(part), known.get(part)
        if not isinstance(was, Mapping) or not isinstance(now, Mapping):
            continue
        for name in was.keys() & now.keys() - FREE:
            if was[name] != now[name]:
                what = flag(name) if part == "settings" else f"the {name} data"
                raise UserError(
                    f"{where} was saved with {what} {was[name]}, and the run has {now[name]}: "
                    "one of them is of another run, or was edited; put back what belongs together"
                )
    was, now = sealed.get("dataset"), known.get("dataset", sealed.get("dataset"))
    if was != now:
        raise UserError(
            f"{where} was trained on {was}, and the run is on {now}; put the right back"
        )


def _random() -> str:
    """Tells the generator: jax's default one, its variants and versions draw different bits."""
    bits = jax.random.bits(jax.random.fold_in(jax.random.key(0), 1), (16,))
    return hashlib.sha256(bits.tobytes()).hexdigest()[:16]
