"""The three experiments on memory: what must come out, the pictures, what is refused."""

import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import optax
import pytest
from tables import random_params

import jaxrnn
from experiments.config import cli
from experiments.config.cli import UserError
from experiments.data.text import Corpus
from experiments.memory import __main__ as memory
from experiments.memory import gradient_plots, gradient_study, gradients, lag, plots
from experiments.plots.style import figure

CELL_NAMES = ["rnn", "lstm", "gru"]


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def assert_picture(path, width, height):
    """Of this size in pixels, with at least a hundredth of it drawn on, in more than one colour."""
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[:2] == (height, width)
    drawn = (pixels[..., :3] < 0.95).any(-1)
    assert 0.01 < drawn.mean() < 0.5
    assert len(np.unique(pixels[drawn][:, :3].round(1), axis=0)) > 10


def assert_nothing_is_cut_off(figure):
    """Every text lies inside the picture."""
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    texts = [figure._suptitle] + [
        text
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts())
    ]
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width, text
        assert box.y1 <= height, text


# --- sequence --------------------------------------------------------------------------------


# The others compile for as long again; by hand.
@pytest.mark.parametrize(
    "cell", ["rnn", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("lstm", "gru"))]
)
def test_a_recurrent_network_says_4_after_5_2_and_a_feed_forward_one_cannot(cell, tmp_path, capsys):
    out = tmp_path / "out"
    memory.main(["sequence", "--cell", cell, "--out", str(out)])
    said = {(row["network"], *row["pair"]): row for row in rows_of(out)}
    name = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[cell] + "(500)"
    assert [row["truth"] for row in rows_of(out)][:7] == [5, 2, 4, 9, 7, 6, 8]
    assert len(said) == 14
    assert abs(said[name, 5, 2]["prediction"] - 4) < 0.2
    assert abs(said["feed-forward", 5, 2]["prediction"] - 4) > 0.5
    printed = capsys.readouterr().out
    assert f"{said[name, 5, 2]['prediction']:.2f}" in printed
    assert_picture(out / "sequence.png", 1500, 690)
    figure = plots.sequence(rows_of(out))
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [7, 7, 7]
    assert_nothing_is_cut_off(figure)
    config = json.loads((out / "config.json").read_text())
    assert config["task"] == "memory-sequence"
    assert config["settings"]["cell"] == cell


def test_the_feed_forward_net_comes_to_the_best_affine_map():
    """The least squares of the seven pairs: what its width cannot change."""
    from experiments.memory.next_number import SEQUENCE, feed_forward, train

    found = train(*feed_forward(jax.random.key(1)), epochs=200, learning_rate=0.01, seed=1)
    pairs = np.c_[np.array(SEQUENCE)[:-2], np.array(SEQUENCE)[1:-1], np.ones(7)]
    best = pairs @ np.linalg.lstsq(pairs, found.truth, rcond=None)[0]
    np.testing.assert_allclose(found.predictions, best, atol=0.2)
    assert found.parameters == 3 * 500 + 501


# --- span ------------------------------------------------------------------------------------


def test_adding_asks_for_two_marked_numbers_one_in_each_half():
    xs, answers = lag.PROBLEMS["adding"].batch(jax.random.key(0), 11, 4000)
    values, marks = np.asarray(xs[..., 0]), np.asarray(xs[..., 1])
    assert xs.shape == (4000, 11, 2)
    assert (marks[:, :5].sum(1) == 1).all()
    assert (marks[:, 5:].sum(1) == 1).all()
    np.testing.assert_allclose(answers, (values * marks).sum(1), rtol=1e-6)
    assert marks.sum(0).min() > 0
    # Variance 1/6 of the sum of two; its own deviation at 4000 examples is about 0.003.
    assert abs(np.var(answers) - lag.PROBLEMS["adding"].baseline) < 0.015


def test_copy_asks_for_each_symbol_exactly_its_length_after_it_was_shown():
    xs, answers = lag.PROBLEMS["copy"].batch(jax.random.key(0), 9, 4000)
    shown, places = np.asarray(xs[..., :8]), np.asarray(xs[..., 8:])
    assert xs.shape == (4000, 9 + 2, 8 + 2)
    for n in range(2):
        np.testing.assert_array_equal(shown[:, n].argmax(1), answers[:, n])
        assert (places[:, [n, 9 + n]].argmax(2) == n).all()
    assert not shown[:, 2:].any()
    assert not places[:, 2:9].any()
    assert abs(np.mean(answers[:, 0] == answers[:, 1]) - 1 / 8) < 0.03


def test_errors_are_what_they_say():
    hs = jnp.eye(4)[None, :3]
    adding, copy = lag.PROBLEMS["adding"], lag.PROBLEMS["copy"]
    answer = adding.error(hs, lambda h: 3.0 * h[..., 2:3], jnp.array([1.0]))
    assert float(answer) == 4.0, "the last step is read out"
    logits = lambda h: jnp.pad(h, ((0, 0), (0, 0), (0, 4)))  # noqa: E731
    assert float(copy.error(hs, logits, jnp.array([[1, 3]]))) == 0.5
    uniform = copy.loss(jnp.zeros((1, 3, 8)), lambda h: h, jnp.array([[1, 3]]))
    np.testing.assert_allclose(uniform, np.log(8), rtol=1e-6)


def test_chrono_moves_the_gates_that_keep_and_nothing_else():
    """LSTM: forget b, input -b; GRU: update b; e^b between 1 and the length."""
    for name, at in (("lstm", 1), ("gru", 1)):
        layer = random_params(jaxrnn.CELLS[name])
        found = lag.chrono(jax.random.key(0), name, layer, 50)
        before, after = (np.asarray(p.bx).reshape(-1, 4) for p in (layer, found))
        assert (after[at] >= 0).all()
        assert (after[at] <= np.log(49)).all()
        assert after[at].std() > 0
        others = [2, 3] if name == "lstm" else [0, 2]
        np.testing.assert_array_equal(after[others], before[others])
        if name == "lstm":
            np.testing.assert_array_equal(after[0], -after[1])
        for field in ("wx", "wh", "bh"):
            assert getattr(found, field) is getattr(layer, field)
    layer = random_params(jaxrnn.SimpleRNN)
    assert lag.chrono(jax.random.key(0), "rnn", layer, 50) is layer


def test_span_writes_a_row_for_each_network_and_its_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(lag.RATES["copy"], "rnn", (0.003,))
    monkeypatch.setitem(lag.RATES["adding"], "rnn", (0.003,))
    out = tmp_path / "out"
    memory.main(
        ["span", "--cells", "rnn", "--lengths", "12", "6", "--steps", "40", "--out", str(out)]
    )
    rows = rows_of(out)
    assert [(row["task"], row["length"]) for row in rows] == [
        ("adding", 6), ("adding", 12), ("copy", 6), ("copy", 12),
    ]  # fmt: skip
    for row in rows:
        assert row["solved"] == (row["error"] < row["baseline"] / 10)
        assert row["steps"] <= 40
        assert 0 <= row["error"] < 0.8 * row["baseline"], "something is learnt even so"
    assert_picture(out / "span.png", 1680, 690)
    assert "lag    6" in capsys.readouterr().out


def test_an_interrupted_span_leaves_the_rows_so_far(tmp_path, monkeypatch, capsys):
    done, out = [], tmp_path / "out"

    def attempt(task, cell, length, plan):
        assert (out / "config.json").exists(), "before the first minute is spent"
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(span_row(cell, length, cell != "rnn", task))
        return done[-1]

    monkeypatch.setattr(lag, "attempt", attempt)
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda: memory.main(["span", "--lengths", "8", "--out", str(out)]))
    assert stop.value.code == 130
    assert rows_of(out) == [row._asdict() for row in done]
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "results.jsonl"]
    assert json.loads((out / "config.json").read_text())["settings"]["lengths"] == [8]
    assert capsys.readouterr().err == "interrupted\n"


def test_a_study_that_breaks_leaves_the_rows_so_far(tmp_path, monkeypatch):
    from experiments.memory import gradient_study

    def rows(study, say):
        yield {"study": "cells"}
        raise KeyboardInterrupt

    monkeypatch.setattr(gradient_study, "rows", rows)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        memory.main(["gradients", "--data", "sample", "--out", str(out)])
    assert rows_of(out) == [{"study": "cells"}]


def test_the_picture_of_span_has_a_line_for_each_cell():
    rows = [
        span_row(cell, length, cell != "rnn" or length < 100, task)._asdict()
        for task in ("adding", "copy") for length in (10, 30, 100, 300, 1000)
        for cell in CELL_NAMES
    ]  # fmt: skip
    figure = plots.span(rows)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [list(line.get_xdata()) for line in axes.lines[1:]] == [[10, 30, 100, 300, 1000]] * 3
        assert [t.get_text() for t in axes.get_legend().get_texts()] == ["SimpleRNN", "LSTM", "GRU"]
        assert "SimpleRNN 30, LSTM 1000, GRU 1000" in axes.get_title()
    assert_nothing_is_cut_off(figure)


def test_an_attempt_ends_when_solved_and_tries_the_second_rate_when_not(monkeypatch):
    plan, tried = lag.Plan(100, 8, 4, "plain", 0), []

    def train(task, cell, length, rate, plan):
        tried.append(rate)
        error = {1.0: float("nan"), 2.0: 0.5, 3.0: 0.01}[rate]
        return lag.Row(task, cell, length, error, 1.0, error < 0.1, 5, rate, 2.0)

    monkeypatch.setattr(lag, "train", train)
    for rates, expected, seconds in (((1.0, 2.0), 0.5, 4.0), ((3.0, 2.0), 0.01, 2.0)):
        tried.clear()
        monkeypatch.setitem(lag.RATES["copy"], "gru", rates)
        row = lag.attempt("copy", "gru", 10, plan)
        assert (row.error, row.seconds) == (expected, seconds)
        assert tried == list(rates[: 1 if expected == 0.01 else 2])


def span_row(cell, length, solved, task="copy"):
    return lag.Row(task, cell, length, 0.1, 0.875, solved, 1, 0.1, 1.0)


def test_the_verdict_is_the_shortest_length_where_only_simple_rnn_fails():
    solved = {10: (True, True, True), 30: (False, False, True), 100: (False, True, True),
              300: (False, True, True)}  # fmt: skip
    rows = [
        span_row(cell, length, good)
        for length, each in solved.items()
        for cell, good in zip(CELL_NAMES, each, strict=True)
    ]
    assert "SimpleRNN fails at a lag of 100" in lag.verdict(rows, "copy")
    assert "no lag" in lag.verdict(rows[:6], "copy")
    assert "no lag" in lag.verdict(rows, "adding")


@pytest.mark.slow
def test_simple_rnn_fails_where_lstm_and_gru_succeed():
    """At a lag of 100 numbers to add, in the default budget: two minutes."""
    plan = lag.Plan(800, 64, 64, "chrono", 0)
    rows = {cell: lag.attempt("adding", cell, 100, plan) for cell in CELL_NAMES}
    assert [rows[cell].solved for cell in CELL_NAMES] == [False, True, True]
    assert rows["rnn"].error > 0.1


# --- gradients -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A short study of the built-in sample: its directory and what it printed."""
    out = tmp_path_factory.mktemp("gradients") / "out"
    memory.main(
        ["gradients", "--data", "sample", "--steps", "3", "--length", "12", "--out", str(out)]
    )
    return out


def test_the_study_has_every_part(study):
    rows = rows_of(study)
    by = {}
    for row in rows:
        by.setdefault(row["study"], []).append(row)
    assert {name: len(found) for name, found in by.items()} == {
        "cells": 6, "saturation": 6, "forget": 3, "matrix": 5, "clipping": 2,
    }  # fmt: skip
    for row in (*by["cells"], *by["forget"], *by["matrix"]):
        assert len(row["median"]) == 12
        assert row["median"][0] == 1.0
        low, median, high = (np.array(row[name]) for name in ("low", "median", "high"))
        assert (low <= median).all()
        assert (median <= high).all()
    assert [sorted(row["gates"]) for row in by["saturation"][::2]] == [
        ["h"], ["f", "g", "i", "o"], ["n", "r", "z"],
    ]  # fmt: skip
    at_the_start = {row["label"]: row["median"][-1] for row in (*by["forget"], *by["matrix"])}
    assert at_the_start["forget bias 0"] < at_the_start["forget bias 1"]
    assert at_the_start["forget bias 1"] < at_the_start["forget bias 3"]
    assert at_the_start["orthogonal x 0.5"] < 1e-2 * at_the_start["orthogonal"]
    assert at_the_start["orthogonal x 2"] > 10
    free, clipped = by["clipping"]
    assert (free["clip"], clipped["clip"]) == (None, 1.0)
    assert free["norms"][0] == clipped["norms"][0] > 1
    np.testing.assert_allclose(clipped["distances"][0], 0.1, rtol=1e-3)
    np.testing.assert_allclose(free["distances"][0], 0.1 * free["norms"][0], rtol=1e-3)
    assert json.loads((study / "config.json").read_text())["dataset"] == "sample"


def test_the_picture_of_the_study(study):
    assert_picture(study / "gradients.png", 1650, 1290)
    figure = gradient_plots.draw(rows_of(study), dataset="sample")
    assert [len(axes.get_legend().get_texts()) for axes in figure.axes] == [6, 3, 5, 3]
    assert "sample" in figure._suptitle.get_text()
    assert_nothing_is_cut_off(figure)


def test_norms_of_a_model_are_those_of_its_own_gradient():
    """At the last word it is the readout's: (sigmoid(logit) - label) times its weights."""
    model = gradients.fresh("gru", 20, 6, seed=0)
    rng = np.random.default_rng(0)
    reviews = gradients.Reviews(
        rng.integers(3, 20, (5, 9)).astype(np.int32), np.array([0, 1, 1, 0, 1])
    )
    logits = model(jnp.asarray(reviews.tokens), jnp.full(5, 9))[:, 0]
    expected = np.abs(jax.nn.sigmoid(logits) - reviews.labels) * np.linalg.norm(
        model.dense.kernel[...]
    )
    found = gradients.norms(model, reviews)
    assert found.shape == (5, 9)
    np.testing.assert_allclose(found[:, -1], expected, rtol=1e-5)
    assert gradients.accuracy(model, reviews) == np.mean((logits > 0) == (reviews.labels == 1))


def test_changing_a_model_leaves_the_other_alone():
    model = gradients.fresh("lstm", 20, 6, seed=0)
    changed = gradients.with_forget_bias(model, 3.0)
    for one, bias in ((model, 1.0), (changed, 3.0)):
        ((params,),) = one.recurrent.weights.get_value()
        np.testing.assert_array_equal(params.bx.reshape(4, 6)[[0, 1, 2, 3], 0], [0, bias, 0, 0])
    reviews = gradients.Reviews(np.full((64, 5), 4, np.int32), np.ones(64, np.int32))
    before = gradients.norms(model, reviews)
    trained = gradients.train(model, reviews, 4, 0, optax.sgd(0.1))
    np.testing.assert_array_equal(gradients.norms(model, reviews), before)
    assert trained.losses[-1] < trained.losses[0]
    assert np.all(np.diff(trained.distances) > 0)


def corpus(lengths):
    """Texts of these lengths."""
    offsets = np.cumsum([0, *lengths])
    labels = np.arange(len(lengths), dtype=np.int32) % 2
    return Corpus(np.full(offsets[-1], 4, np.int32), offsets, labels)


@pytest.mark.parametrize(
    ("train", "test", "length"),
    [
        (range(1, 401), range(1, 801), 200),  # a quarter of them have at least 301 and 601
        (range(1, 401), range(1, 201), 137),  # of the shorter ones 64 are needed, the longest
        (range(1, 401), range(1, 281), 200),
        ([7] * 300 + [90] * 100, [8] * 300 + [95] * 100, 90),
        ([7] * 301 + [90] * 99, [8] * 300 + [95] * 100, 7),
        ([1] * 100, [1] * 100, 2),
        ([50] * 63, [60] * 64, 2),
    ],
)
def test_the_usual_length_is_one_that_a_quarter_of_the_reviews_have(train, test, length):
    assert gradients.usual_length(corpus(train), corpus(test)) == length


def test_short_reviews_shorten_the_default_and_this_is_said(tmp_path, capsys, monkeypatch):
    """The built-in sample has no review of 200 words; a quarter of each part has 93."""
    given = []

    def rows(study, say):
        given.append(study.length)
        yield {"study": "cells"}

    monkeypatch.setattr(gradient_study, "rows", rows)
    monkeypatch.setattr(gradient_plots, "draw", lambda rows, dataset: figure(2, 2, dataset))
    out = tmp_path / "out"
    memory.main(["gradients", "--data", "sample", "--out", str(out)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "--length is 93, which a quarter of these reviews reach"
    assert given == [93]
    assert json.loads((out / "config.json").read_text())["settings"]["length"] == 93


@pytest.mark.slow
def test_the_command_runs_on_the_sample_as_it_is(tmp_path):
    out = tmp_path / "out"
    memory.main(["gradients", "--data", "sample", "--out", str(out)])
    assert {len(row["median"]) for row in rows_of(out) if "median" in row} == {93}
    assert_picture(out / "gradients.png", 1650, 1290)


@pytest.mark.slow
def test_a_finished_run_is_looked_at(tmp_path, capsys):
    from experiments import imdb

    run_dir, out = tmp_path / "run", tmp_path / "out"
    imdb.main(
        ["--data", "sample", "--cell", "gru", "--epochs", "1", "--layers", "2",
         "--run-dir", str(run_dir)]
    )  # fmt: skip
    memory.main(
        ["gradients", "--data", "sample", "--runs", str(run_dir), "--steps", "2", "--length", "12",
         "--out", str(out)]
    )  # fmt: skip
    cells = [row for row in rows_of(out) if row["study"] == "cells"]
    assert [(row["label"], row["state"]) for row in cells] == [
        ("2 x GRU(32)", "untrained"), ("2 x GRU(32)", "trained"),
    ]  # fmt: skip
    assert cells[0]["median"] != cells[1]["median"]


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sequence", "--cell", "foo"], "--cell"),
        (["sequence", "--epochs", "0"], "--epochs is 0"),
        (["sequence", "--learning-rate", "nan"], "--learning-rate is nan"),
        (["span", "--lengths", "10", "3"], "--lengths holds 3; give numbers at least 4"),
        (["span", "--lengths", "10001"], "--lengths holds 10001; .* at most 10000"),
        (["span", "--lengths"], "--lengths"),
        (["span", "--tasks", "sorting"], "sorting"),
        (["span", "--steps", "-1"], "--steps is -1"),
        (["gradients", "--runs", "nowhere"], "nowhere is no run"),
        (["gradients", "--data", "tfds", "--data-dir", "nowhere"], "nowhere does not exist"),
        (["gradients", "--data", "sample", "--length", "9999"], "--length is 9999; only 0 reviews"),
        (["gradients", "--data", "sample", "--length", "140"], "needed: give at most 12\\d$"),
        (["span", "--seed", "-1"], "--seed is -1; give a number at least 0 and at most 2147483647"),
        (["sequence", "--epochs", "100001"], "at least 1 and at most 100000$"),
        (["span", "--steps", "2000000"], "at least 1 and at most 1000000$"),
        (["forget"], "forget"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        memory.main(args)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"task": "mnist", "dataset": "sample"}, "mnist on sample"),
        ({"task": "memory-span"}, "memory-span"),
        ({"task": "imdb", "dataset": "imdb"}, "imdb on imdb"),
        ({}, "something else"),
    ],
)
def test_a_run_of_something_else_is_called_what_it_is(config, what, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        memory.main(["gradients", "--data", "sample", "--runs", str(tmp_path)])
    assert str(caught.value) == f"{tmp_path} is a run of {what}; give a run of imdb on sample"


@pytest.mark.parametrize("command", ["sequence", "span", "gradients"])
def test_no_file_is_overwritten(command, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out, message in (
        (tmp_path, "holds files; name an empty or a new directory"),
        (tmp_path / "mine.txt", "is a file"),
        (tmp_path / "mine.txt" / "below", "lies in a file"),
    ):
        with pytest.raises(UserError, match=message):
            memory.main([command, "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
