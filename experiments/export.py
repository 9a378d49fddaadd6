"""Export a finished run's best model as files that other programs read without this project.

    python -m experiments.export RUN            write RUN/export/
    python -m experiments.export RUN --check    read it back and compare it with the checkpoint

    model.stablehlo        the program, (weights, inputs, lengths) -> logits: `jax.export`, for CPU,
                           CUDA and TPU, any batch and any number of steps
    weights.safetensors    its weights, by name
    vocabulary.txt         the words of a text's run
    export.json            what goes in and what comes out, versions, and the digests of these
    README.md              all that for people, with a loader of some twenty lines

A stranger needs jax alone (see `predict/handout.py`). Nothing in the files is executed by reading
them.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.config.cli import UserError, parse, run
from experiments.runs.directory import VOCABULARY, RunDir

if TYPE_CHECKING:
    import jax
    import numpy as np

    from experiments.runs.load import Trained


PROGRAM, WEIGHTS, CARD = "model.stablehlo", "weights.safetensors", "export.json"
README = "README.md"
PLATFORMS = ("cpu", "cuda", "tpu")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Write the best model of a run as StableHLO and safetensors into RUN_DIR/export/.

    example: python -m experiments.export runs/imdb-gru-seed0
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run of `experiments.imdb` or `experiments.mnist`."""
    check: bool = False
    """Write nothing; read the export back and compare its answers with the checkpoint's."""


def main(args: list[str] | None = None) -> None:
    """Export one run, or check an export."""
    settings = parse(Settings, args, prog="python -m experiments.export")
    directory = RunDir(settings.run_dir)
    target = directory.path / "export"
    if settings.check:
        difference = check(directory)
        print(f"{target}: answers differ from the checkpoint's by at most {difference:.1g}")
        return
    print(f"{target}: {', '.join(write(directory))}")


def write(directory: RunDir) -> list[str]:
    """Write a run's `export/`, whole or not at all; one that is there is replaced. Its files."""
    import jax
    from flax import nnx
    from safetensors.numpy import save

    from experiments.predict import handout
    from experiments.storage import verified_arrays

    model, inputs, trained = _model(directory)
    graphdef, params = nnx.split(model)
    tree = jax.tree.structure(params)

    def program(weights: dict[str, jax.Array], xs: jax.Array, lengths: jax.Array) -> jax.Array:
        # In the order of the names that were taken; a dictionary that comes in is sorted.
        leaves = [weights[name] for name in names]
        return nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))(xs, lengths)

    weights = {name: jax.device_get(leaf) for name, leaf in verified_arrays.names(params).items()}
    names = list(weights)
    batch, time = jax.export.symbolic_shape("batch, time")
    forms = (
        {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()},
        jax.ShapeDtypeStruct((batch, time, *inputs.shape[2:]), inputs.dtype),
        jax.ShapeDtypeStruct((batch,), "int32"),
    )
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(*forms)
    files = {PROGRAM: bytes(exported.serialize()), WEIGHTS: save(weights)}
    if trained.vocabulary is not None:
        files[VOCABULARY] = (directory.path / VOCABULARY).read_bytes()
    config = directory.config()
    card = {
        "task": config["task"],
        "step": trained.step,
        "inputs": {"xs": _form(forms[1]), "lengths": _form(forms[2])},
        "output": {"logits": _form(exported.out_avals[0])},
        **handout.facts(trained),
        "examples": handout.examples(trained, jax.jit(model)),
        "platforms": list(PLATFORMS),
        "versions": {
            "jax": jax.__version__,
            "calling_convention": exported.calling_convention_version,
        },
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[CARD] = (json.dumps(card, indent=2) + "\n").encode()
    files[README] = handout.readme(card, config, directory.summary() or {}).encode()
    _replace(directory.path / "export", files)
    return list(files)


def load(
    directory: Path,
) -> tuple[Callable[["jax.Array", "jax.Array"], "jax.Array"], dict[str, Any]]:
    """The model in an `export/`: `(xs, lengths) -> logits`, and what `export.json` says of it.

    `xs` are ids int32 [B, T] or features float32 [B, T, D], `lengths` int32 [B].

    Raises:
        UserError: files that are missing or not those that were written.
    """
    import jax
    from jax import export
    from safetensors.numpy import load as read_tensors

    from experiments.storage import verified_arrays

    try:
        card = json.loads((directory / CARD).read_text(encoding="utf-8"))
        names = (PROGRAM, WEIGHTS, *([VOCABULARY] if "text" in card else []))
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
    # Sealed by whoever made it: whatever foreign readers make of it, the user gets one line.
    try:
        exported = export.deserialize(bytearray(files[PROGRAM]))
        called = foreign_calls(exported.mlir_module())
        weights = jax.device_put(read_tensors(files[WEIGHTS]))
    except Exception as error:
        why = verified_arrays.line(error)
        raise UserError(f"{directory} holds no program or weights of ours ({why})") from None
    if called:
        raise UserError(
            f"{directory / PROGRAM} calls {', '.join(called)} outside itself, which no program of "
            "ours does; it is not run"
        )
    call = jax.jit(exported.call)
    return lambda xs, lengths: call(weights, xs, lengths), card


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
    import numpy as np

    from experiments.predict import handout
    from experiments.storage import verified_arrays

    target = directory.path / "export"
    answer, card = load(target)
    model, inputs, trained = _model(directory)
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
    lengths = np.arange(len(inputs), dtype=np.int32) % (inputs.shape[1] + 1)
    expected = np.asarray(model(inputs, lengths))
    try:
        logits = np.asarray(answer(inputs, lengths))
    except Exception as error:
        raise UserError(f"{target} cannot be run ({verified_arrays.line(error)})") from None
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        raise UserError(
            f"{target} answers {logits.shape} numbers, finite ones: {np.isfinite(logits).all()}; "
            f"{expected.shape} are expected: export it again"
        )
    return float(np.max(np.abs(logits - expected)))


def _model(directory: RunDir) -> tuple[Any, "np.ndarray", "Trained"]:
    """The best model of a run, inputs such as it reads, and all that it was loaded from."""
    import numpy as np
    from flax import nnx

    from experiments.models.build import reading
    from experiments.models.ensemble import members
    from experiments.runs.load import load as load_run
    from jaxrnn.engines import scan

    trained, source = load_run(directory, print), np.random.default_rng(0)
    if trained.vocabulary is not None:
        inputs = source.integers(0, trained.vocabulary.size, (16, 40)).astype(np.int32)
    else:
        inputs = source.random((16, *reading(trained.settings).shape), np.float32)
    model = nnx.merge(trained.graphdef, trained.params)
    for member in members(model):
        if member.recurrent is not None:
            # The one engine whose program runs on every platform.
            member.recurrent.engine = scan
    return model, inputs, trained


def _form(array: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"dtype": str(array.dtype), "shape": shape}


def _replace(target: Path, files: dict[str, bytes]) -> None:
    """Write the files into a directory beside `target`, and put it in its place by a rename."""
    partial, old = (target.with_name(f".export.{name}") for name in ("partial", "old"))
    try:
        for rubbish in (partial, old):
            shutil.rmtree(rubbish, ignore_errors=True)
        partial.mkdir()
        for name, content in files.items():
            with open(partial / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            os.rename(target, old)
        os.rename(partial, target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise UserError(f"{target} cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    run(main)
