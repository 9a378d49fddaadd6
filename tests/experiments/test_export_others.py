"""What only some exports have: the program of one step, and a model for ONNX's runtimes."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import tiny_mnist
from root import ROOT
from small_run import TEXT, runner

from experiments import export, mnist
from experiments.config import cli
from experiments.config.cli import UserError
from experiments.predict import exported
from experiments.runs.directory import RunDir
from experiments.training.loop import Runner
from experiments.training.progress import Screen

onnxruntime = pytest.importorskip("onnxruntime", reason="it has no wheel for macOS 12")


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "imdb"
    flags = "--epochs 1 --layers 2 --cell gru --readout mean-max --hidden 3 --bigrams 7 --members 2"
    runner(path, *flags.split()).fit()
    export.main([str(path), "--onnx"])
    return path


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "mnist"
    args = ["--run-dir", str(path), "--units", "3", "--epochs", "1", "--cell", "lstm"]
    settings = mnist.resolve(cli.parse(mnist.Settings, args))
    Runner(mnist.task(settings, tiny_mnist.sample(40, 20)), settings, RunDir(path), Screen()).fit()
    export.main([str(path), "--onnx"])
    return path


@pytest.fixture(params=["text_run", "image_run"])
def path(request):
    return request.getfixturevalue(request.param)


def test_check_asks_all_three(path, capsys):
    export.main([str(path), "--check", "--onnx"])
    lines = capsys.readouterr().out.splitlines()
    # Float32, summed in another order: over 1,000 steps, too.
    assert [float(line.split()[-1]) < 1e-5 for line in lines[-3:]] == [True] * 3
    assert "asked step by step, 1000 steps, by at most" in lines[-2]
    assert "run by onnxruntime, by at most" in lines[-1]


def test_the_step_program_says_what_the_whole_one_says_of_each_beginning(path):
    answer, card = exported.load(path / "export")
    take, forms = exported.load_step(path / "export")
    rng = np.random.default_rng(0)
    xs = rng.integers(0, TEXT.vocabulary.size, (3, 7)).astype(np.int32)
    if "image" in card:
        xs = rng.random((3, 7, 28)).astype(np.float32)
    states = {name: np.zeros([3, *f["shape"][1:]], f["dtype"]) for name, f in forms.items()}
    for t in range(7):
        states, logits = take(states, xs[:, t])
        expected = answer(xs, np.full(3, t + 1, np.int32))
        np.testing.assert_allclose(logits, expected, atol=1e-6, rtol=1e-6)


def test_the_onnx_model_has_its_own_recurrent_nodes(path):
    model = onnx.load(path / "export" / "model.onnx")
    kinds = [node.op_type for node in model.graph.node]
    if path.name == "mnist":
        assert kinds.count("LSTM") == 1
    else:
        assert kinds.count("GRU") == 4  # two members of two layers
    assert not {"Loop", "Scan"} & set(kinds)
    assert [i.name for i in model.graph.input] == ["xs", "lengths"]
    session = onnxruntime.InferenceSession(path / "export" / "model.onnx")
    answer, card = exported.load(path / "export")
    shape = (3, 5, 28) if "image" in card else (3, 5)
    xs = np.arange(np.prod(shape)).reshape(shape) % 9
    xs = xs.astype(card["inputs"]["xs"]["dtype"])
    lengths = np.array([5, 0, 2], np.int32)
    (logits,) = session.run(["logits"], {"xs": xs, "lengths": lengths})
    np.testing.assert_allclose(logits, answer(xs, lengths), atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # short: `open`
def test_the_readmes_code_for_both_runs(path, monkeypatch):
    page = (path / "export" / "README.md").read_text()
    assert "$" not in page, "a fact is missing"
    loader, steps, runtime = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(path / "export")
    names = {}
    exec(loader, names)
    exec(steps, names)
    card, xs = names["card"], np.array([[1, 5, 2, 3]], np.int32)
    if "image" in card:
        xs = np.random.default_rng(0).random((1, 4, 28)).astype(np.float32)
    names |= {"xs": xs, "lengths": np.array([4], np.int32)}
    exec(runtime, names)
    for x in xs[0]:
        logits = names["take"](x)
    np.testing.assert_allclose(logits, names["logits"][0], atol=1e-6, rtol=1e-6)


def test_a_backward_layer_has_no_step_program(tmp_path, capsys):
    runner(tmp_path / "run", "--epochs", "1", "--bidirectional").fit()
    export.main([str(tmp_path / "run")])
    assert exported.load_step(tmp_path / "run" / "export") is None
    page = (tmp_path / "run" / "export" / "README.md").read_text()
    assert "step.stablehlo" not in page
    assert "model.onnx" not in page
    export.main([str(tmp_path / "run"), "--check"])
    assert "step by step" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"has no model\.onnx; export it with --onnx first$"):
        export.main([str(tmp_path / "run"), "--check", "--onnx"])


@pytest.mark.parametrize("name", ["step.stablehlo", "model.onnx"])
def test_a_damaged_file_is_one_line(text_run, tmp_path, name):
    run = shutil.copytree(text_run, tmp_path / "run")
    content = bytearray((run / "export" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / "export" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is damaged: its digest differs; export it again"):
        export.main([str(run), "--check"])


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("safetensors", [], "an export needs safetensors, which is not installed"),
        ("flatbuffers", ["--check"], "an export needs flatbuffers, which is not installed"),
        ("onnx", ["--onnx"], "--onnx needs onnx, which is not installed"),
        ("onnxruntime", ["--check", "--onnx"], "--onnx needs onnxruntime, which is not installed"),
    ],
)  # fmt: skip
def test_without_an_optional_library_it_is_one_line(text_run, monkeypatch, name, flags, message):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *rest: None if n == name else found(n, *rest)
    )
    before = {p.name: p.stat().st_mtime_ns for p in (text_run / "export").iterdir()}
    with pytest.raises(UserError, match=f"^{message}; pip install {name}$"):
        export.main([str(text_run), *flags])
    assert {p.name: p.stat().st_mtime_ns for p in (text_run / "export").iterdir()} == before


def test_that_line_ends_the_command_with_status_2(text_run):
    code = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda n, *rest: None if n == "safetensors" else found(n, *rest)
from experiments.config.cli import run
from experiments import export
sys.argv = ["export", sys.argv[1]]
run(export.main)"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(text_run)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "error: an export needs safetensors, which is not installed; pip install safetensors\n"
    )
    assert json.loads((text_run / "export" / "export.json").read_text())["step_program"]
