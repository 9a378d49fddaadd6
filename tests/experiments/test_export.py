"""Reads an export back: the same answers in a fresh process and at other sizes, or none."""

import hashlib
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from root import ROOT
from safetensors.numpy import load_file, save
from small_run import TEXT, digits_runner, runner
from tiny_mnist import sample

from experiments import export
from experiments.config.cli import UserError
from experiments.predict import exported
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDir
from experiments.storage import verified_arrays


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "imdb"
    flags = "--epochs 1 --layers 2 --bidirectional --average 0.9 --readout mean-max --hidden 3"
    runner(path, *flags.split()).fit()
    export.main([str(path)])
    return path


def answers(path, tokens, lengths):
    """What the best checkpoint itself says."""
    run = runner(path.parent / "unused", *FLAGS)
    graphdef, params = nnx.split(run.task.model)
    _, arrays, _ = Checkpoints(path / "checkpoints").restore_best({"average": params}, print)
    return nnx.merge(graphdef, arrays["average"])(tokens, lengths)


FLAGS = ("--layers", "2", "--bidirectional", "--readout", "mean-max", "--hidden", "3")


@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (3, 9), (16, 4)])
def test_any_batch_and_any_number_of_steps(text_run, batch, steps):
    rng = np.random.default_rng(batch)
    tokens = rng.integers(0, TEXT.vocabulary.size, (batch, steps)).astype(np.int32)
    lengths = rng.integers(0, steps + 1, batch).astype(np.int32)
    answer, card = exported.load(text_run / "export")
    # The same program, fused otherwise: float32 rounding of logits of size 1.
    expected = answers(text_run, tokens, lengths)
    np.testing.assert_allclose(answer(tokens, lengths), expected, atol=1e-6, rtol=1e-6)
    assert card["inputs"]["xs"] == {"dtype": "int32", "shape": ["batch", "time"]}
    assert card["output"]["logits"] == {"dtype": "float32", "shape": ["batch", 1]}
    assert card["platforms"] == ["cpu", "cuda", "tpu"]


def test_a_fresh_process_that_has_nothing_of_this_project_reads_it(text_run, tmp_path):
    """With jax and safetensors alone, by the names in the files."""
    code = """
import sys, json, jax, numpy as np
from jax import export
from safetensors.numpy import load_file, save
program = export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
xs, lengths = np.arange(15, dtype=np.int32).reshape(3, 5) % 9, np.array([5, 0, 2], np.int32)
print(json.dumps(np.asarray(program.call(load_file("weights.safetensors"), xs, lengths)).tolist()))
assert not {"jaxrnn", "flax", "experiments"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=text_run / "export", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tokens = np.arange(15, dtype=np.int32).reshape(3, 5) % 9
    expected = answers(text_run, tokens, np.array([5, 0, 2], np.int32))
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-6, rtol=1e-6)


def test_check_reads_both_and_compares(text_run):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.export", str(text_run), "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    difference = float(done.stdout.split()[-1])
    assert difference < 1e-6
    assert "answers differ from the checkpoint's by at most" in done.stdout


def test_check_notices_other_weights(text_run, tmp_path):
    """Weights that were moved and sealed again: the difference is seen, not only the digest."""
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    name = "dense/bias/value"
    weights = load_file(path / "export" / "weights.safetensors")
    assert name in weights
    weights[name] = weights[name] + 0.5
    card = json.loads((path / "export" / "export.json").read_text())
    content = save(weights)
    (path / "export" / "weights.safetensors").write_bytes(content)
    card["sha256"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
    (path / "export" / "export.json").write_text(json.dumps(card))
    assert export.check(RunDir(path)) == pytest.approx(0.5, abs=1e-6)


def test_check_notices_an_export_of_an_earlier_step(text_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    card = path / "export" / "export.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"step": 1}))
    with pytest.raises(UserError, match="holds step 1; the best one is"):
        export.check(RunDir(path))


def test_weights_are_the_best_checkpoints_by_name(text_run):
    run = runner(text_run.parent / "unused", *FLAGS)
    _, arrays, _ = Checkpoints(text_run / "checkpoints").restore_best(
        {"average": nnx.split(run.task.model)[1]}, print
    )
    expected = verified_arrays.names(arrays["average"])
    found = load_file(text_run / "export" / "weights.safetensors")
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


def test_images_too(tmp_path):
    flags = ["--units", "3", "--epochs", "1", "--shift", "0"]
    digits_runner(tmp_path / "run", sample(64, 32), *flags).fit()
    export.write(RunDir(tmp_path / "run"))
    assert export.check(RunDir(tmp_path / "run")) < 1e-6
    card = json.loads((tmp_path / "run" / "export" / "export.json").read_text())
    assert card["inputs"]["xs"] == {"dtype": "float32", "shape": ["batch", "time", 28]}
    assert card["output"]["logits"]["shape"] == ["batch", 10]


def damaged(path, how):
    match how:
        case "no export":
            shutil.rmtree(path / "export")
        case "no weights":
            (path / "export" / "weights.safetensors").unlink()
        case "flipped program":
            content = bytearray((path / "export" / "model.stablehlo").read_bytes())
            content[len(content) // 2] ^= 1
            (path / "export" / "model.stablehlo").write_bytes(content)
        case "bad card":
            (path / "export" / "export.json").write_text("{")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no export", "is no export: it has no export.json"),
        ("no weights", "is no export: it has no weights.safetensors"),
        ("flipped program", "model.stablehlo is damaged: its digest differs; export it again"),
        ("bad card", "export cannot be read"),
    ],
)
def test_what_is_damaged_is_one_line(text_run, tmp_path, how, message):
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    damaged(path, how)
    with pytest.raises(UserError, match=message) as caught:
        export.main([str(path), "--check"])
    assert "\n" not in str(caught.value)


def test_what_cannot_be_exported_is_one_line(text_run, tmp_path):
    with pytest.raises(UserError, match=r"is no run: it has no config\.json"):
        export.main([str(tmp_path)])
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    shutil.rmtree(path / "checkpoints")
    before = (path / "export" / "export.json").read_bytes()
    with pytest.raises(UserError, match="no checkpoint in"):
        export.main([str(path)])
    assert (path / "export" / "export.json").read_bytes() == before
    (path / "config.json").write_text(json.dumps({"task": "memory", "settings": {}}))
    with pytest.raises(UserError, match="is a run of memory, which has no model"):
        export.main([str(path)])


def test_a_full_disk_leaves_the_old_export(text_run, tmp_path, monkeypatch):
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    before = {p.name: p.read_bytes() for p in (path / "export").iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "fsync", full)
    with pytest.raises(UserError, match="export cannot be written \\(No space left on device"):
        export.write(RunDir(path))
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in (path / "export").iterdir()} == before
    assert not list(path.glob(".export*"))
    export.write(RunDir(path))  # a second export replaces the first
    assert export.check(RunDir(path)) < 1e-6


@pytest.mark.parametrize("target", ["xla_ffi_python_cpu_callback", "os.system"])
def test_a_program_that_calls_outside_is_not_run(text_run, tmp_path, target):
    """Sealed by whoever sent it: a custom call takes any function and pointer of the process."""
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    program = jax.export.export(
        jax.jit(lambda w, xs, lengths: jax.ffi.ffi_call(target, lengths)(lengths)),
        disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
    )({}, *[jax.ShapeDtypeStruct((2,), "int32")] * 2)
    reseal(path, bytes(program.serialize()))
    with pytest.raises(UserError, match=f"calls {target} outside itself"):
        export.main([str(path), "--check"])


def reseal(path, program):
    card = json.loads((path / "export" / "export.json").read_text())
    (path / "export" / "model.stablehlo").write_bytes(program)
    card["sha256"]["model.stablehlo"] = hashlib.sha256(program).hexdigest()
    (path / "export" / "export.json").write_text(json.dumps(card))


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_no_program_is_one_line(text_run, tmp_path, size):
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    reseal(path, (path / "export" / "model.stablehlo").read_bytes()[:size])
    with pytest.raises(UserError, match=r"no program or weights of ours|cannot be run") as said:
        export.main([str(path), "--check"])
    assert "\n" not in str(said.value)


def test_a_program_of_another_shape_is_one_line(text_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(text_run, path)
    program = jax.export.export(jax.jit(lambda w, xs, lengths: lengths))(
        {}, *[jax.ShapeDtypeStruct((2,), "int32")] * 2
    )
    reseal(path, bytes(program.serialize()))
    with pytest.raises(UserError, match="cannot be run") as said:
        export.main([str(path), "--check"])
    assert "\n" not in str(said.value)
