"""Exports a finished run's best model as files that other programs read without this project.

    python -m experiments.export RUN            write RUN/export/
    python -m experiments.export RUN --onnx     the same, and model.onnx
    python -m experiments.export RUN --check    read it back and compare it with the checkpoint

    model.stablehlo        the program, (weights, inputs, lengths) -> logits: `jax.export`, for CPU,
                           CUDA and TPU, any batch and any number of steps
    step.stablehlo         one step of it, (weights, states, inputs) -> (states, logits), unless a
                           layer runs backward
    weights.safetensors    its weights, by name
    vocabulary.txt         the words of a text's run
    model.onnx             with --onnx, the program and its weights, with ONNX's own recurrent nodes
    export.json            what goes in and what comes out, versions, and the digests of these
    README.md              all that for people, with a loader of some twenty lines

A stranger needs jax alone (see `predict/handout.py`). Nothing in the files is executed by reading
them.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.config.cli import UserError, parse, run
from experiments.runs.directory import VOCABULARY, RunDir

if TYPE_CHECKING:
    pass

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
    onnx: bool = False
    """Write model.onnx, too (needs onnx); with --check, run it, too (needs onnxruntime)."""


def main(args: list[str] | None = None) -> None:
    """Export one run, or check an export."""
    settings = parse(Settings, args, prog="python -m experiments.export")
    _check_installed(settings)
    directory = RunDir(settings.run_dir)
    target = directory.path / "export"
    if not settings.check:
        print(f"{target}: {', '.join(write(directory, with_onnx=settings.onnx))}")
        return
    difference = check(directory)
    print(f"{target}: answers differ from the checkpoint's by at most {difference:.1g}")
    from experiments.predict import exported

    by_steps = exported.check_steps(directory)
    if by_steps is not None:
        print(f"{target}: asked step by step, {exported.STEPS} steps, by at most {by_steps:.1g}")
    if settings.onnx:
        difference = exported.check_onnx(directory)
        print(f"{target}: run by onnxruntime, by at most {difference:.1g}")


def check(directory: RunDir) -> float:
    """The largest difference between the logits of the export and those of the checkpoint."""
    from experiments.predict import exported

    return exported.check(directory)


def _check_installed(settings: Settings) -> None:
    """Raise unless all that this is going to need is there: before anything is written."""
    needed = {"safetensors": "an export", "flatbuffers": "an export"}
    if settings.onnx:
        needed |= {"onnxruntime": "--onnx"} if settings.check else {"onnx": "--onnx"}
    for name, what in needed.items():
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{what} needs {name}, which is not installed; pip install {name}")


def write(directory: RunDir, *, with_onnx: bool = False) -> list[str]:
    """Write a run's `export/`, whole or not at all; one that is there is replaced. Its files."""
    import jax
    from flax import nnx
    from safetensors.numpy import save

    from experiments.models import stepping
    from experiments.predict import exported, handout
    from experiments.storage import verified_arrays

    model, inputs, trained = exported.best_model(directory)
    graphdef, params = nnx.split(model)
    tree = jax.tree.structure(params)

    def network(weights: dict[str, jax.Array]) -> Any:
        # In the order of the names that were taken; a dictionary that comes in is sorted.
        leaves = [weights[name] for name in names]
        return nnx.merge(graphdef, jax.tree.unflatten(tree, leaves))

    def program(weights: dict[str, jax.Array], xs: jax.Array, lengths: jax.Array) -> jax.Array:
        return network(weights)(xs, lengths)

    def one_step(weights: dict[str, jax.Array], states: Any, xs: jax.Array) -> Any:
        return stepping.step(network(weights), states, xs)

    weights = {name: jax.device_get(leaf) for name, leaf in verified_arrays.names(params).items()}
    names = list(weights)
    batch, time = jax.export.symbolic_shape("batch, time")
    forms = (
        {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()},
        jax.ShapeDtypeStruct((batch, time, *inputs.shape[2:]), inputs.dtype),
        jax.ShapeDtypeStruct((batch,), "int32"),
    )
    whole = jax.export.export(jax.jit(program), platforms=PLATFORMS)(*forms)
    files = {exported.PROGRAM: bytes(whole.serialize()), exported.WEIGHTS: save(weights)}
    about: dict[str, Any] = {}
    if stepping.can_step(model):
        states = {
            name: jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype)
            for name, array in stepping.first_states(model, 1).items()
        }
        xs = jax.ShapeDtypeStruct((batch, *inputs.shape[2:]), inputs.dtype)
        made = jax.export.export(jax.jit(one_step), platforms=PLATFORMS)(forms[0], states, xs)
        files[exported.STEP] = bytes(made.serialize())
        about = {"xs": _form(xs), "states": {name: _form(s) for name, s in states.items()}}
    if with_onnx:
        from experiments.models.onnx import to_onnx

        files[exported.ONNX] = to_onnx(model).SerializeToString()
    if trained.vocabulary is not None:
        files[VOCABULARY] = (directory.path / VOCABULARY).read_bytes()
    config = directory.config()
    card = {
        "task": config["task"],
        "step": trained.step,
        "inputs": {"xs": _form(forms[1]), "lengths": _form(forms[2])},
        "output": {"logits": _form(whole.out_avals[0])},
        **({"step_program": about} if about else {}),
        **handout.facts(trained),
        "examples": handout.examples(trained, jax.jit(model)),
        "platforms": list(PLATFORMS),
        "versions": {
            "jax": jax.__version__,
            "calling_convention": whole.calling_convention_version,
        },
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[exported.CARD] = (json.dumps(card, indent=2) + "\n").encode()
    files[README] = handout.readme(card, config, directory.summary() or {}).encode()
    _replace(directory.path / "export", files)
    return list(files)


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
