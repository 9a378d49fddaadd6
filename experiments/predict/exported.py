"""Reads an export back, and compares its answers with those of the run's best checkpoint."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import export

from experiments.config.cli import UserError
from experiments.models.build import reading
from experiments.models.ensemble import members
from experiments.predict import handout
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.runs.load import Trained
from experiments.runs.load import load as load_run
from experiments.storage import verified_arrays
from jaxrnn.engines import scan

PROGRAM, WEIGHTS, CARD = "model.stablehlo", "weights.safetensors", "export.json"
STEP, ONNX = "step.stablehlo", "model.onnx"
STEPS = 1000  # over which the program of one step is compared with the whole one
Ask = Callable[[Any, Any], Any]


def load(directory: Path) -> tuple[Ask, dict[str, Any]]:
    """The model in an `export/`: `(xs, lengths) -> logits`, and what `export.json` says of it.

    `xs` are ids int32 [B, T] or features float32 [B, T, D], `lengths` int32 [B].

    Raises:
        UserError: files that are missing or not those that were written.
    """
    card, files = _read(directory)
    call, weights = _program(directory, PROGRAM, files)
    return lambda xs, lengths: call(weights, xs, lengths), card


def load_step(directory: Path) -> tuple[Ask, dict[str, Any]] | None:
    """The program of one step, `(states, xs) -> (states, logits)`, and the states' forms by name.

    None where the export has none. `xs` are ids int32 [B] or features float32 [B, D], and the first
    states zeros.

    Raises:
        UserError: files that are missing or not those that were written.
    """
    card, files = _read(directory)
    if STEP not in files:
        return None
    call, weights = _program(directory, STEP, files)
    return lambda states, xs: call(weights, states, xs), card["step_program"]["states"]


def _read(directory: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `export.json` says, and the files, each with the digest that stands there."""
    try:
        card = json.loads((directory / CARD).read_text(encoding="utf-8"))
        names = [PROGRAM, WEIGHTS, *([VOCABULARY] if "text" in card else [])]
        names += [name for name in (STEP, ONNX) if name in card["sha256"]]
        files = {name: (directory / name).read_bytes() for name in names}
        digests = {name: card["sha256"][name] for name in files}
    except FileNotFoundError as error:
        raise UserError(
            f"{directory} is no export: it has no {Path(error.filename).name}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{directory} cannot be read ({error})") from None
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise UserError(f"{directory / name} is damaged: its digest differs; export it again")
    return card, files


def _program(
    directory: Path, name: str, files: dict[str, bytes]
) -> tuple[Callable[..., Any], dict[str, jax.Array]]:
    """A program that can be called, and the weights, its first argument."""
    from safetensors.numpy import load as read_tensors

    # Sealed by whoever made it: whatever foreign readers make of it, the user gets one line.
    try:
        exported = export.deserialize(bytearray(files[name]))
        called = foreign_calls(exported.mlir_module())
        weights = jax.device_put(read_tensors(files[WEIGHTS]))
    except Exception as error:
        why = verified_arrays.line(error)
        raise UserError(f"{directory} holds no program or weights of ours ({why})") from None
    if called:
        raise UserError(
            f"{directory / name} calls {', '.join(called)} outside itself, which no program of "
            "ours does; it is not run"
        )
    return jax.jit(exported.call), weights


def foreign_calls(module: str) -> list[str]:
    """What a StableHLO program would call in the process that runs it, but for checks of shapes.

    A custom call may name any function that the process has registered, with a pointer of the
    program's choice: it is the one operation that could execute what somebody sent.
    """
    named = re.findall(r"custom_call *@([\w.]+)|call_target_name = \"([^\"]*)\"", module)
    calls = {name or other for name, other in named} - {"shape_assertion"}
    unnamed = module.count("custom_call") - len(named)
    return sorted(calls) + ["something without a name"] * (unnamed > 0)


def check(directory: RunDir) -> float:
    """The largest difference between the logits of the export and those of the checkpoint."""
    target = directory.path / "export"
    answer, card = load(target)
    model, inputs, trained = best_model(directory)
    if card.get("step") != trained.step:
        raise UserError(
            f"{target} holds step {card.get('step')}; the best one is {trained.step} now: export "
            "it again"
        )
    said = json.loads(json.dumps(handout.facts(trained)))
    if any(card.get(name) != value for name, value in said.items()):
        raise UserError(
            f"{target}/{CARD} says other things of its inputs and outputs than the run: export it "
            "again"
        )
    lengths = _lengths(inputs)
    return _difference(target, lambda: answer(inputs, lengths), model(inputs, lengths))


def check_steps(directory: RunDir) -> float | None:
    """The same of the program of one step, over `STEPS` of them; None where there is none."""
    target = directory.path / "export"
    loaded = load_step(target)
    if loaded is None:
        return None
    take, forms = loaded
    model, inputs, _ = best_model(directory, steps=STEPS)
    looks = np.linspace(1, STEPS, len(inputs)).astype(np.int32)
    inputs = np.repeat(inputs[:1], len(inputs), axis=0)  # one sequence, and more and more of it

    def logits() -> Any:
        states = {name: np.zeros([1, *f["shape"][1:]], f["dtype"]) for name, f in forms.items()}
        seen = []
        for t in range(STEPS):
            states, now = take(states, inputs[:1, t])
            if t + 1 in looks:
                seen.append(now)
        return np.concatenate(seen)

    return _difference(target, logits, model(inputs, looks))


def check_onnx(directory: RunDir) -> float:
    """The same of `model.onnx`, run by onnxruntime."""
    import onnxruntime

    target = directory.path / "export"
    _, files = _read(target)
    if ONNX not in files:
        raise UserError(f"{target} has no {ONNX}; export it with --onnx first")
    model, inputs, _ = best_model(directory)
    lengths = _lengths(inputs)

    def logits() -> Any:
        session = onnxruntime.InferenceSession(files[ONNX], providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"xs": inputs, "lengths": lengths})[0]

    return _difference(target, logits, model(inputs, lengths))


def best_model(directory: RunDir, steps: int = 40) -> tuple[Any, np.ndarray, Trained]:
    """The best model of a run, inputs such as it reads, and all that it was loaded from."""
    trained, source = load_run(directory, print), np.random.default_rng(0)
    if trained.vocabulary is not None:
        inputs = source.integers(0, trained.vocabulary.size, (16, steps)).astype(np.int32)
    else:
        shape = reading(trained.settings).shape
        inputs = source.random((16, max(steps, shape[0]), shape[1]), np.float32)
    model = nnx.merge(trained.graphdef, trained.params)
    for member in members(model):
        if member.recurrent is not None:
            # The one engine whose program runs on every platform.
            member.recurrent.engine = scan
    return model, inputs, trained


def _lengths(inputs: np.ndarray) -> np.ndarray:
    """From 0 on, for each sequence another."""
    return np.arange(len(inputs), dtype=np.int32) % (inputs.shape[1] + 1)


def _difference(target: Path, ask: Callable[[], Any], expected: Any) -> float:
    """The largest difference between what is asked for and expected."""
    try:
        logits = np.asarray(ask())
    except Exception as error:
        raise UserError(f"{target} cannot be run ({verified_arrays.line(error)})") from None
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        raise UserError(
            f"{target} answers {logits.shape} numbers, finite ones: {np.isfinite(logits).all()}; "
            f"{expected.shape} are expected: export it again"
        )
    return float(np.max(np.abs(logits - np.asarray(expected))))
