"""What a benchmark shows: tables and picture say what its JSON says, and name every loss."""

import json

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from experiments.benchmark import plots, report, statistics, workers
from experiments.benchmark.statistics import noisy, summary


def invented(engine="native"):
    """What a benchmark could have found; six libraries, one of them wrong at one layer."""
    rng = np.random.default_rng(0)
    libraries = [workers.ours(engine), *workers.PEERS]
    measured = []
    for name, cell in (("A", "lstm"), ("A", "gru"), ("B", "rnn")):
        entries = {}
        for k, library in enumerate(libraries):
            entries[library.name] = {
                "agrees": True, "deviation": {"hs": 1e-7 * (k + 1), "dxs": 1e-6},
                "first": {"forward": 0.1 * k, "both": 0.2 * k},
            }  # fmt: skip
            for call in ("forward", "both"):
                times = list(rng.uniform(0.001, 0.4) * rng.uniform(0.9, 1.3, 7))
                entries[library.name][call] = summary(times) | {"floor_fraction": rng.uniform()}
        measured.append({
            "name": name, "cell": cell, "sizes": [5, 4, 3, 2], "results": entries,
            "sgemm": {"rate": 1e11, "library": "torch", "shape": [4, 2, 8]},
            "ratios": statistics.ratios(entries, libraries),
        })  # fmt: skip
    wrong = measured[1]["results"]["flax"]
    del wrong["forward"], wrong["both"]
    wrong["agrees"] = False
    measured[2]["results"]["torch"] = {"error": "RuntimeError: it has none"}
    rate = {"rate": 1e11, "library": "torch"}
    return {
        "command": "layer", "line": "python -m x layer",
        "machine": "a machine, 2 cores", "versions": {"jax": "0.10.2"},
        "settings": {"repetitions": 7, "threads": 2, "square": 64},
        "libraries": [
            {"name": x.name, "family": x.family, "import_seconds": dict.fromkeys(x.imports, 0.5),
             "denormals_flushed": True} for x in libraries
        ],
        "limits": {"product": rate, "copy": rate, "tanh": rate, "best product": rate},
        "problems": measured, "means": statistics.means(measured, libraries),
        "disagreeing": ["flax at A gru"],
    }  # fmt: skip


def test_the_table_says_what_the_json_says():
    found = json.loads(json.dumps(invented()))
    shown = report.screen(found)
    assert max(map(len, shown.splitlines())) <= 100
    rows = [line for line in shown.splitlines() if line[7:10] in ("fwd", "f+b")]
    assert len(rows) == 6
    for line, (problem, call) in zip(
        rows, [(p, c) for p in found["problems"] for c in ("forward", "both")], strict=True
    ):
        name, cell, _, *numbers = line.split()
        assert [name, cell] == [problem["name"], problem["cell"]]
        for library, number in zip(found["libraries"], numbers, strict=False):
            of = problem["results"][library["name"]]
            if call not in of:
                assert number == ("wrong" if library["name"] == "flax" else "-")
                continue
            # Four characters of it at least: 1 % of the smallest.
            assert float(number.rstrip("~")) == pytest.approx(1000 * of[call]["median"], rel=0.01)
            assert number.endswith("~") == noisy(of[call])
        assert numbers[-2] == f"{problem['ratios']['native'][call]['any']['ratio']:.2f}"
        assert numbers[-1] == f"{problem['results']['native'][call]['floor_fraction']:.0%}"
    assert "DISAGREES WITH FLOAT64, not timed: flax at A gru" in shown
    assert "RuntimeError: it has none" in shown
    assert f"geometric mean {found['means']['native']['any']['mean']:.2f}" in shown
    page = report.markdown(found)
    assert page.startswith("# One recurrent layer\n\n`python -m x layer`\n\n")
    of = found["problems"][0]["results"]["native"]["forward"]
    low, middle, high = (report.milliseconds(of[k]) for k in ("q1", "median", "q3"))
    assert f"| A lstm | forward | {middle} ({low}-{high}) |" in page
    assert "flax at A gru disagrees" in page


def test_every_loss_is_named():
    found = invented()
    lost = {
        f"{p['name']} {p['cell']} {report.SHORT[call]}"
        for p in found["problems"]
        for call, of in p["ratios"]["native"].items()
        if of["any"]["ratio"] < 1
    }
    assert lost
    said = " ".join(line for line in report.means(found) if "geometric" not in line)
    assert said.startswith("slower at: ")
    assert said.count(" fwd ") + said.count(" f+b ") == len(lost)
    assert all(name in said for name in lost)


def test_nine_libraries_fit_the_screen():
    found = invented()
    found["libraries"] += [dict(found["libraries"][0], name=n) for n in ("fused", "scan", "cudnn")]
    assert max(map(len, report.screen(found).splitlines())) <= 100


def test_the_picture_has_a_mark_for_every_ratio(tmp_path):
    found = invented()
    figure = plots.picture(found)
    for axes, call in zip(figure.axes, ("forward", "both"), strict=True):
        drawn = sorted(
            (round(float(y)), float(x))
            for line in axes.get_lines()
            if line.get_linestyle() == "None"
            for x, y in line.get_xydata()
        )
        expected = sorted(
            (row, ratio)
            for row, problem in enumerate(found["problems"])
            for ratio in plots.by_peer(problem, "native", call).values()
        )
        np.testing.assert_allclose(drawn, expected, rtol=1e-12)
        assert len(expected) == 15 - 2
        low, high = axes.get_xlim()
        assert all(low < x < high for _, x in drawn)
    plots.save(figure, tmp_path / "x.png")
    pixels = matplotlib.image.imread(tmp_path / "x.png")
    assert pixels.shape[1] >= 1600
    assert 0.01 < (pixels[..., :3] < 0.9).any(axis=-1).mean() < 0.3


def test_peers_differ_without_colour():
    """By the marker; neighbours in the legend by lightness (0 to 1) too."""
    styles = list(plots.STYLES.values())
    assert len({marker for _, marker in styles}) == len(styles)
    light = [np.array([0.2126, 0.7152, 0.0722]) @ matplotlib.colors.to_rgb(c) for c, _ in styles]
    assert np.abs(np.diff(light)).min() > 0.2
