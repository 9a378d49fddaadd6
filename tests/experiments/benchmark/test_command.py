"""The benchmark: results are compared before they are timed, and tables say what was measured."""

import dataclasses
import json
import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from root import ROOT

import jaxrnn
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import layer, problems, report, statistics, step, workers
from experiments.benchmark.peers import engine_layer, layouts, limits, scan_layer
from experiments.benchmark.problems import Problem, agrees, deviations, draw
from experiments.config import cli
from experiments.config.cli import UserError, parse
from jaxrnn.engines import available, choose

CELLS = ("rnn", "lstm", "gru")


def built(module, option, problem, params, data):
    """A module's results under our names, in this process."""
    weights = layouts.weights_for("jaxrnn", problem.cell, params)
    arrays = {f"w:{name}": array for name, array in weights.items()} | data
    calls = module.build(option, problem._asdict(), arrays)
    both = calls["both"]()
    np.testing.assert_allclose(calls["forward"]()["hs"], both["hs"], rtol=0, atol=1e-6)
    return {k.replace("d:", "d"): np.asarray(a) for k, a in both.items()}


@pytest.mark.parametrize(("cell", "name"), [("rnn", "wx"), ("lstm", "wh"), ("gru", "bx")])
def test_a_wrong_weight_is_seen(cell, name):
    """The largest weight of an array, changed by 5 %."""
    problem = Problem("A", cell, (6, 4, 3, 5))
    params, data = draw(problem)
    right = built(scan_layer, "", problem, params, data)
    ours = built(engine_layer, "scan", problem, params, data)
    # float32 both: 6 steps of sums of at most 9 terms leave some 1e-7 of the largest.
    assert max(deviations(ours, right).values()) < 2e-6
    assert agrees(deviations(ours, right))
    array = np.array(getattr(params, name))
    array.flat[array.argmax()] *= 1.05
    wrong = built(engine_layer, "scan", problem, params._replace(**{name: array}), data)
    assert not agrees(deviations(wrong, right))


@pytest.mark.parametrize("name", ["hs", "dxs", "dwx", "dwh", "dbx"])
def test_every_quantity_counts(name):
    quantities = {key: np.ones((2, 3)) for key in ("hs", "dxs", "dwx", "dwh", "dbx")}
    assert agrees(deviations(quantities, quantities))
    for bad in (
        {name: np.full((2, 3), 1.01)}, {name: np.full((2, 3), np.nan)}, {name: np.ones((3, 2))},
    ):  # fmt: skip
        assert not agrees(deviations(quantities | bad, quantities))
    del quantities[name]
    assert not agrees(deviations(quantities, quantities))


def test_deviation_is_a_share_of_the_largest():
    found = deviations({"hs": np.array([1.0, -4.5])}, {"hs": np.array([1.0, -4.0]), "dxs": 0})
    assert found == {"hs": 0.125}


@pytest.mark.parametrize("layout", ["jaxrnn", "flax", "keras", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_come_back_from_every_layout(layout, cell):
    """The way there and back is the identity, but that a gradient has no part in what is zero."""
    params, _ = draw(Problem("A", cell, (1, 1, 3, 4)))
    weights = layouts.weights_for(layout, cell, params)
    if layout == "torch" and cell != "gru":
        # Both of its biases get the whole gradient.
        weights["bias_hh_l0"] = weights["bias_ih_l0"]
    back = layouts.gradient_from(layout, cell, weights)
    for name in ("wx", "wh"):
        np.testing.assert_array_equal(back[f"d{name}"], getattr(params, name))
    if layout == "flax" and cell == "gru":
        assert "dbh" not in back
        np.testing.assert_array_equal(back["dbx"], params.bx + params.bh)
    else:
        np.testing.assert_array_equal(back["dbx"], params.bx)
        assert ("dbh" in back) == (cell == "gru")


def test_flops_and_bytes_of_a_layer():
    problem = Problem("A", "gru", (5, 4, 3, 2))
    # 5 steps x 4 rows x (3 + 2) x 6 columns, a product and a sum each.
    assert problem.flops("forward") == 2 * 5 * 4 * 5 * 6
    assert problem.flops("both") == 3 * problem.flops("forward")
    assert problem.bytes("forward") == 4 * 5 * 4 * (3 + 2)
    assert problem.product == (4, 2, 6)
    assert problem.activations() == 5 * 4 * 2 * 3


def test_engines_are_those_that_can_run_here():
    """The one that is chosen first and the reference last."""
    found = layer.engines(())
    assert set(found) == {name for name, why_not in available().items() if not why_not}
    assert found[0] == choose(jaxrnn.LSTM, "float32").name
    assert found[-1] == "scan"
    assert layer.engines(("default", "scan", "default")) == ["default", "scan"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["layer", "--sizes", "1,2,3"], "--sizes holds '1,2,3'; give steps,batch,features,units"),
        (["layer", "--sizes", "1,2,0,4"], "--sizes holds '1,2,0,4'"),
        (["layer", "--sizes", "a,b,c,d"], "--sizes holds 'a,b,c,d'"),
        (["layer", "--engines", "warp"], "--engines holds 'warp'; jaxrnn.engines has .*scan"),
        (["layer", "--peers", "numpy"], "--peers holds 'numpy'; give some of lax.scan, flax"),
        (["layer", "--repetitions", "0"], "--repetitions is 0"),
        (["layer", "--threads", "100000"], r"--threads is 100000; this process may use \d+ cores"),
        (["layer", "--out", "/no/such/place"], "--out /no/such/place: /no/such is no directory"),
        (["layer", "--out", "."], "--out . is a directory; add what the files' names begin with"),
        (["step", "--peers", "flax"], "--peers holds 'flax'; give some of keras-jax"),
        (["epoch", "--scripts", "haiku"], "--scripts holds 'haiku'; give some of jaxrnn"),
        (["layers"], "layers"),
    ],
)
def test_a_mistake_is_one_line(args, message):
    with pytest.raises(UserError, match=message) as caught:
        benchmark.main(args)
    assert "\n" not in str(caught.value)


def test_what_is_not_installed_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: name != "torch" or None)
    said = []
    found = workers.chosen(["lax.scan", "torch"], said.append)
    assert [library.name for library in found] == ["lax.scan"]
    assert said == ["torch is not installed and left out; pip install torch"]


def test_a_worker_that_cannot_start_says_why(tmp_path):
    library = workers.PEERS[0]._replace(imports=("no_such_module",))
    with workers.workers([library], 1, tmp_path) as (worker,):
        assert worker.greeting is None
        assert re.search("status 1.*no_such_module", worker.failure)
    assert worker.process.poll() is not None


def test_the_line_of_a_page_measures_the_same_again():
    settings = benchmark.Layer(sizes=("1,2,3,4", "5,6,7,8"), odd=True, repetitions=9, out="there")
    said = benchmark.line(settings)
    assert said == (
        "python -m experiments.benchmark layer --sizes 1,2,3,4 5,6,7,8 --odd --repetitions 9"
    )
    again = parse(benchmark.Command, said.split()[3:])
    assert again == dataclasses.replace(settings, out=None)
    assert benchmark.line(benchmark.Epoch(data_dir="/home/me")) == (
        "python -m experiments.benchmark epoch"
    )


def test_sizes_are_named_in_order():
    found = problems.problems(("1,2,3,4", *problems.ODD), ("gru", "gru"))
    assert [p.name for p in found] == list("ABCDEF")
    assert found[0] == Problem("A", "gru", (1, 2, 3, 4))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny run of the command with everything that CI installs and that starts in seconds."""
    out = tmp_path_factory.mktemp("benchmark") / "tiny"
    args = ["layer", "--sizes", "5,4,3,2", "--cells", "gru", "--repetitions", "2", "--square", "8",
            "--copied", "1", "--engines", "scan", "--threads", "1",
            "--peers", "lax.scan", "flax", "keras-jax", "--out", str(out)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *args],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return done, out


def test_a_tiny_run_measures_every_library(tiny):
    done, out = tiny
    assert done.returncode == 0, done.stderr
    found = json.loads(out.with_name("tiny.json").read_text())
    assert done.stdout.rstrip("\n") == report.screen(found)
    assert out.with_name("tiny.md").read_text() == report.markdown(found)
    assert matplotlib.image.imread(out.with_name("tiny.png")).shape[1] >= 1600
    (problem,) = found["problems"]
    assert set(problem["results"]) == {"scan", "lax.scan", "flax", "keras-jax"}
    for name, of in problem["results"].items():
        assert of["agrees"], name
        # float32 against float64 at this size: some roundings of 6e-8.
        assert 0 < max(of["deviation"].values()) < 1e-5
        for call in ("forward", "both"):
            assert len(of[call]["seconds"]) == 2
            assert all(s > 0 for s in of[call]["seconds"])
    assert all(one["denormals_flushed"] for one in found["libraries"])
    assert set(found["limits"]) == {"product", "copy", "tanh", "best product"}


class InThisProcess:
    """A worker without a process. Its clock is constant."""

    def __init__(self, name, module, option="", layout="jaxrnn", spoil=lambda arrays: arrays):
        family = "ours" if module is engine_layer else "jax"
        self.library = workers.Library(name, "", option, layout, (), "", family)
        self.module, self.spoil, self.asked = module, spoil, []

    def load(self, problem, arrays, warm=True):
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        calls = self.module.build(self.library.option, problem, self.spoil(arrays))
        found = {f"{c}/{k}": np.asarray(a) for c, call in calls.items() for k, a in call().items()}
        return {"first": dict.fromkeys(calls, 1.0), "calls": dict.fromkeys(calls, 1)}, found

    def ask(self, **request):
        self.asked.append(request["call"])
        return {"seconds": 0.25}


def test_what_computes_something_else_is_said_and_not_timed(monkeypatch):
    """r and z swapped on their way to a library, as in a wrong table of gates."""

    def swapped(arrays):
        r, z, n = np.split(arrays["w:wx"], 3, axis=1)
        return arrays | {"w:wx": np.concatenate([z, r, n], axis=1)}

    monkeypatch.setattr(layer, "PAUSE", 0)
    good = InThisProcess("scan", engine_layer, "scan")
    wrong = InThisProcess("wrong", scan_layer, spoil=swapped)
    right = InThisProcess("right", scan_layer)
    machine, said = InThisProcess("limits-numpy", limits, "numpy"), []
    problem, reference = Problem("A", "gru", (5, 4, 3, 2)), InThisProcess("", scan_layer)
    found = layer.one_problem(problem, [good, wrong, right], [machine], reference, 3, said.append)
    assert wrong.asked == []
    assert good.asked == right.asked == ["forward", "both"] * 3
    assert machine.asked == ["product"] * 3
    assert [line.split(":")[0] for line in said] == [
        "  wrong computes something else and is not timed"
    ]
    assert statistics.disagreeing([found]) == ["wrong at A gru"]
    assert "forward" not in found["results"]["wrong"]
    assert found["results"]["scan"]["forward"]["seconds"] == [0.25] * 3
    assert found["ratios"]["scan"]["both"]["any"] == {"peer": "right", "ratio": 1.0}
    # Of 0.25 s: what the products take at the better of two rates, and 3 * 40 gates at theirs.
    rates = {"product": {"rate": 1e4}, "copy": {"rate": 1e9}, "tanh": {"rate": 1e3}}
    found["sgemm"]["rate"] = 2e4
    layer.add_floors([problem], [found], rates)
    forward = 2 * 20 * (3 + 2) * 6
    for call, products in (("forward", forward), ("both", 3 * forward)):
        share = (products / 2e4 + 120 / 1e3) / 0.25
        assert found["results"]["scan"][call]["floor_fraction"] == pytest.approx(share, rel=1e-12)


def test_the_grid_spans_every_size_and_has_its_corners():
    sizes = [tuple(map(int, text.split(","))) for text in problems.grid()]
    assert len(sizes) == len(set(sizes)) == 44
    assert sizes == [problem.sizes for problem in problems.problems(problems.grid(), ["lstm"])]
    for axis, values in ((0, "T"), (1, "B"), (3, "H")):
        assert {size[axis] for size in sizes} >= set(problems.SPAN[values])
    corners = {(t, b, h, h) for t in (1, 1000) for b in (1, 256) for h in (32, 1024)}
    assert corners - set(sizes) == {(1000, 256, 1024, 1024)}  # 4e12 products


@pytest.mark.parametrize("wrong", [[], ["flax at A gru"]])
def test_the_status_says_whether_all_agree(wrong, monkeypatch, capsys):
    found = {"rows": [{"library": "jaxrnn"}], "notes": [], "disagreeing": wrong}
    monkeypatch.setattr(step, "command", lambda *_: found)
    assert benchmark.main(["step"]) == len(wrong)
    assert "| jaxrnn |" in capsys.readouterr().out


def test_a_first_loss_that_differs_is_seen():
    losses = {"jaxrnn": 0.6931472, "torch": 0.6931471, "keras-tf": 0.6941471}
    assert step.disagreeing(losses) == ["keras-tf"]
    assert step.disagreeing({"a": 0.7, "b": 0.7, "c": float("nan")}) == ["c"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["layer", "step", "epoch"])
def test_everything_that_is_installed(command, tmp_path):
    """By hand: TensorFlow and PyTorch start slowly, and PyTorch is no dependency of the tests."""
    args = {
        "layer": "--sizes 5,4,3,2 7,1,3,9 --repetitions 2 --square 16 --copied 1",
        "step": "--steps 8 --batch-size 4 --units 5 --repetitions 2",
        "epoch": "--data sample --epochs 1",
    }[command].split()
    assert benchmark.main([command, *args, "--out", str(tmp_path / "x")]) == 0
    assert json.loads((tmp_path / "x.json").read_text())["command"] == command


def test_the_commands_status():
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: benchmark.main(["layer", "--sizes", "x"]))
    assert stop.value.code == 2
