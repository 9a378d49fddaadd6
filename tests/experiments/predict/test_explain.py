"""How an answer came about: the law of prefixes, what a terminal shows, the pictures."""

import io
import itertools
import re

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
import tiny_mnist
from flax import nnx
from rich.console import Console

from experiments import imdb, mnist
from experiments.config import cli
from experiments.config.cli import parse
from experiments.config.settings import flatten
from experiments.data.image_batches import Reading
from experiments.data.reviews import TextData
from experiments.data.text import Vocabulary, index, words
from experiments.predict import __main__ as predict
from experiments.predict import explain, image, plots
from experiments.predict import text as predict_text
from experiments.predict.explain import MINUS, Rows, Words
from experiments.runs import provenance, seal
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.runs.load import load

TEXT = "A good film; the plot was bad, but such GOOD actors!"
IMAGES = tiny_mnist.sample(40, 20)

# Logits and probabilities of size 1, out of some 20 float32 sums in another order for another
# shape: 1e-7 each, so a few 1e-6. A prefix that is one word off differs by more than 1e-3.
CLOSE = 1e-5


def finished(task, settings, path) -> str:
    """The files that `predict` reads; the weights are as they were drawn, which is as good here."""
    run, config = (
        RunDir(path),
        provenance.describe(
            task=task.name,
            title=task.title,
            dataset=task.dataset,
            classes=task.classes,
            data=task.digests,
            settings=flatten(settings),
            devices=["cpu: cpu"],
        ),
    )
    run.create(config)
    task.save(run.path)
    params = nnx.split(task.model)[1]
    meta = {"rows": [], "run": seal.fixed(config)}
    Checkpoints(run.checkpoints).save(1, {"params": params}, meta, score=0.5)
    return str(path)


TEXTS = {
    "mean": ["--cell", "gru", "--readout", "mean"],
    "both directions": ["--cell", "lstm", "--bidirectional", "--readout", "mean-max"],
    "head cut": ["--cell", "gru", "--readout", "last", "--max-length", "5"],
    "tail cut": ["--cell", "rnn", "--readout", "max", "--max-length", "5", "--truncate", "tail"],
    "no recurrence": ["--cell", "none", "--readout", "mean", "--hidden", "3"],
}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """The run of a name in `TEXTS`, made when it is asked for."""
    train_texts = [f"a film with {word} actors but the plot" for word in ("good", "bad") * 20]
    data = TextData("sample", *index((train_texts, [1, 0] * 20), (train_texts[:20], [1, 0] * 10)))
    made = {}

    def run(name: str) -> str:
        if name not in made:
            path = tmp_path_factory.mktemp("runs") / "run"
            args = ["--embedding", "3", "--units", "4", "--average", "0", *TEXTS[name]]
            settings = parse(imdb.Settings, args)
            made[name] = finished(imdb.task(settings, data), settings, path)
        return made[name]

    return run


IMAGE_RUNS = {
    "rows": ["--cell", "lstm"],
    "both directions": ["--cell", "gru", "--bidirectional", "--readout", "mean"],
    "permuted": ["--cell", "rnn", "--permute", "3"],
}


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    made = {}

    def run(name: str) -> str:
        if name not in made:
            path = tmp_path_factory.mktemp("runs") / "run"
            args = ["--units", "4", "--average", "0", *IMAGE_RUNS[name]]
            settings = mnist.resolve(parse(mnist.Settings, args))
            made[name] = finished(mnist.task(settings, IMAGES), settings, path)
        return made[name]

    return run


@pytest.fixture
def digit(tmp_path):
    from PIL import Image

    path = tmp_path / "digit.png"
    Image.fromarray(IMAGES.test.pixels[3]).save(path)
    return str(path)


@pytest.fixture
def ask(capsys):
    """The command: status, standard output, standard error."""

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: predict.main(list(args)))
        said = capsys.readouterr()
        return stop.value.code, said.out, said.err

    return run


def model_of(path):
    """The network of a run, as it answers without any of the code under test."""
    trained = load(RunDir(path), print)
    return nnx.merge(trained.graphdef, trained.params)


# The law: the answer after k steps is that to the first k steps alone.


@pytest.mark.parametrize("name", TEXTS)
def test_after_k_words_the_answer_is_that_to_k_words(text_run, name, monkeypatch) -> None:
    run = RunDir(text_run(name))
    monkeypatch.setattr(predict_text, "_AT_ONCE", 4)  # so that there are several batches
    found = predict_text.explain(run, TEXT, None)
    vocabulary = Vocabulary.load(run.path / VOCABULARY)
    settings = run.config()["settings"]
    model = model_of(run.path)
    assert found.words == tuple(words(TEXT))
    most, unknown = settings["max_length"], {"was", "such"}
    assert [w for w, known in zip(found.words, found.known, strict=True) if not known] == [
        w for w in found.words if w in unknown
    ]
    assert found.cut == max(0, 12 - most)
    assert len(found.log_odds) == 12
    for k in (0, 1, 5, 6, 11):
        ids = vocabulary.encode(" ".join(found.words[:k]))
        ids = ids[-most:] if settings["truncate"] == "head" else ids[:most]
        alone = model(jnp.asarray(ids[None]), jnp.array([len(ids)]))[0, 0]
        np.testing.assert_allclose(found.log_odds[k], alone, rtol=0, atol=CLOSE)
    own = predict_text.answer(run, TEXT, None)
    last = found.probabilities[-1]
    assert own.label == ("positive" if last > 0.5 else "negative")
    assert own.probability == pytest.approx(max(last, 1 - last), abs=CLOSE)
    # What was cut off at the end changes nothing; everywhere else words matter.
    moved = np.abs(found.changes) > 1e-4
    assert moved.any()
    assert not moved[4:].any() or name != "tail cut"


@pytest.mark.parametrize("name", IMAGE_RUNS)
def test_after_k_rows_the_answer_is_that_to_k_rows(image_run, digit, name) -> None:
    run = RunDir(image_run(name))
    found = image.explain(run, digit)
    reading = Reading(name == "permuted", 3 if name == "permuted" else None)
    steps, _ = reading.shape
    xs = reading(found.image[None])
    model = model_of(run.path)
    assert found.probabilities.shape == (28, 10)
    for k in (1, 2, 9, 28):
        logits = model(jnp.asarray(xs[:, : k * steps // 28]), jnp.array([k * steps // 28]))
        alone = np.exp(logits[0]) / np.exp(logits[0]).sum()
        np.testing.assert_allclose(found.probabilities[k - 1], alone, rtol=0, atol=CLOSE)
    own = image.answer(run, digit)
    np.testing.assert_allclose(found.probabilities[-1], own.probabilities, rtol=0, atol=CLOSE)
    assert (found.unit, found.in_order) == (
        ("28 pixels", False) if name == "permuted" else ("row", True)
    )


# What is shown.


def known(log_odds, words=None, cut=0, unknown=()) -> Words:
    words = words or tuple(f"w{n}" for n in range(len(log_odds) - 1))
    seen = np.array([word not in unknown for word in words])
    return Words(tuple(words), seen, np.array(log_odds, np.float32), cut)


def test_levels_are_of_log_odds_and_both_ways() -> None:
    changes = [0.0, 0.05, 0.11, 0.31, 1.01, 9.0]
    assert [explain.level(c) for c in changes] == [0, 0, 1, 2, 3, 3]
    assert [explain.level(-c) for c in changes] == [0, 0, -1, -2, -3, -3]
    assert [explain.marks(n) for n in (-2, 0, 3)] == [MINUS * 2, "", "+++"]
    assert explain.colour(0) is None
    found = known([0, 2, -200, 800])
    np.testing.assert_allclose(found.changes, [2, -202, 1000])
    np.testing.assert_allclose(found.probabilities, [0.5, 0.880797, 0, 1], atol=1e-6)
    assert [found.answer(n) for n in range(3)] == [
        "negative 50.0%", "positive 88.1%", "negative 100.0%",
    ]  # fmt: skip


def printed(found, say=explain.say_words, **options) -> str:
    out = io.StringIO()
    say(found, Console(file=out, highlight=False, **options))
    return out.getvalue()


SHOWN = known([0, 0.05, 2, 1.5, 1.3], ("a", "good", "plain", "bad"), unknown={"plain"}, cut=1)


def test_without_colours_the_signs_say_it() -> None:
    said = printed(SHOWN, width=80)
    assert said.splitlines()[0].split() == ["a", "good+++", f"(plain){MINUS * 2}", f"bad{MINUS}"]
    assert "\x1b" not in said
    for part in ("+++ 1", f"{MINUS * 2} 0.3", "(word):  not in the vocabulary", "not see 1 words"):
        assert part in said
    assert said.splitlines()[-1] == "positive 78.6%"
    assert "▅▅█▇▇" in said  # 50%, 51%, 88%, 82%, 79%


def test_with_colours_each_word_has_its_ground() -> None:
    said = printed(SHOWN, width=80, force_terminal=True, color_system="truecolor", no_color=False)
    ground = {}
    for code, text in re.findall(r"\x1b\[([\d;]*)m([^\x1b]*)", said.splitlines()[0]):
        ground[text.strip()] = code.partition("48;2;")[2]
    for text, of in (("good+++", 3), (f"(plain){MINUS * 2}", -2), (f"bad{MINUS}", -1)):
        red, green, blue = (int(explain.colour(of)[k : k + 2], 16) for k in (1, 3, 5))
        assert ground[text] == f"{red};{green};{blue}"
    plain = printed(SHOWN, width=80, force_terminal=True, no_color=True)
    assert "48;" not in plain


@pytest.mark.parametrize("width", [20, 40, 80])
def test_narrow_windows_wrap_and_lose_no_word(width) -> None:
    found = known(np.cumsum([0, *[0.2, -0.4] * 40]))
    lines = printed(found, width=width).splitlines()
    text = lines[: lines.index("")]
    assert max(map(len, text)) <= width
    signed = [f"w{n}{'+' if n % 2 == 0 else MINUS * 2}" for n in range(80)]
    assert " ".join(text).split() == signed


def test_rows_are_printed_beside_the_image() -> None:
    probabilities = np.full((28, 10), 0.02, np.float32)
    probabilities[:, 7], probabilities[:, 4] = 0.7, 0.14
    image = np.zeros((28, 28), np.uint8)
    image[2, 5] = 255
    said = printed(Rows(image, probabilities, "row", True), explain.say_rows, width=80)
    lines = said.splitlines()
    assert lines[2].split() == ["3", "·" * 5 + "█" + "·" * 22, "7", "70.0%", "4", "14.0%"]
    assert len(lines) == 30
    assert lines[-1] == "7 (70.0%)"
    said = printed(Rows(image, probabilities, "28 pixels", False), explain.say_rows, width=80)
    assert said.splitlines()[2].split() == ["84", "7", "70.0%", "4", "14.0%"]


# Pictures.

CONFIG = {"title": "IMDB sentiment", "dataset": "sample", "settings": {"cell": "gru", "units": 8}}


def boxes(axes):
    return [patch.get_bbox() for patch in axes.patches]


def test_the_picture_of_a_text(tmp_path) -> None:
    rng = np.random.default_rng(0)
    words = tuple("x" * n for n in rng.integers(1, 14, 120))
    found = known(np.cumsum([0, *rng.normal(0, 0.5, 120)]), words)
    figure = plots.words(found, CONFIG)
    assert figure.get_suptitle() == f"IMDB sentiment · GRU(8) · dataset: sample · {found.answer()}"
    text, curve = figure.axes
    levels = [explain.level(change) for change in found.changes]
    # A ground and signs for each word that has a level, and the six of the legend.
    assert len(boxes(text)) == sum(of != 0 for of in levels) + 6
    written = [t.get_text() for t in text.texts]
    signs = [w for w in written if w and set(w) <= {"+", MINUS}]
    assert signs[:-6] == [explain.marks(of) for of in levels if of]
    assert [w for w in written if set(w) == {"x"}] == list(words)
    for axis in ("x", "y"):
        low, high = sorted(getattr(text, f"get_{axis}lim")())
        for box in boxes(text):
            assert low <= getattr(box, f"{axis}0")
            assert getattr(box, f"{axis}1") <= high
    figure.draw_without_rendering()
    extents = [t.get_window_extent() for t in text.texts if set(t.get_text()) == {"x"}]
    for left, right in itertools.pairwise(extents):
        assert right.x0 > left.x1 or right.y1 < left.y0, "no word lies on another"
    line = curve.lines[1]
    np.testing.assert_allclose(line.get_ydata(), 100 * found.probabilities)
    assert len(line.get_xdata()) == 121
    named = [t.get_text().split()[0] for t in curve.texts]
    assert words[int(np.abs(found.changes).argmax())] in [w[:16] for w in named]
    assert "(%)" in curve.get_ylabel()


def assert_picture(path, width) -> None:
    pixels = matplotlib.image.imread(path)[..., :3]
    assert pixels.shape[1] == width
    drawn = (pixels < 0.95).any(-1)
    assert 0.02 < drawn.mean() < 0.6
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.min() > 0.8, "nothing is cut off"


def test_a_long_text_is_a_curve_and_its_last_words(tmp_path) -> None:
    found = known([0, *[1] * 4000], cut=3501, unknown={"w3999"})
    figure = plots.words(found, CONFIG)
    assert len(figure.axes[1].lines[1].get_xdata()) == 4001
    notes = " ".join(t.get_text() for t in figure.axes[0].texts)
    for note in ("last 500 of 4,000 words", "does not see 3,501 words", "not in the vocabulary"):
        assert note in notes
    assert "w3500 " in notes
    assert "w3499 " not in notes
    assert figure.get_size_inches()[1] < 16


def test_strange_words_are_drawn_without_a_warning(tmp_path) -> None:
    found = known([0, 1, -1, 1], ("映画", "$x^2", "y" * 400), unknown={"映画"})
    plots.draw(found, CONFIG, tmp_path / "x.png")
    assert_picture(tmp_path / "x.png", 1650)


@pytest.mark.parametrize("in_order", [True, False])
def test_the_picture_of_an_image(tmp_path, in_order) -> None:
    rng = np.random.default_rng(0)
    logits = np.cumsum(rng.normal(0, 1, (28, 10)), axis=0)
    p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    found = Rows(IMAGES.test.pixels[0], p, "row" if in_order else "28 pixels", in_order)
    figure = plots.rows(found, CONFIG)
    image, answers, _ = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), found.image)
    np.testing.assert_allclose(answers.images[0].get_array(), 100 * p)
    shown = [(t.get_position()[0], t.get_text()) for t in answers.texts]
    assert shown == [(row.argmax(), f"{row.max():.0%}") for row in p]
    assert figure.get_suptitle().endswith(f"answer {p[-1].argmax()} ({p[-1].max():.1%})")
    assert bool(image.get_yticks().size) == in_order
    plots.draw(found, CONFIG, tmp_path / "x.png")
    assert_picture(tmp_path / "x.png", 1650)


# The command.


def test_the_command_draws_into_the_run_or_where_it_is_told(
    ask, text_run, image_run, digit, tmp_path
) -> None:
    for run, about in ((text_run("mean"), TEXT), (image_run("rows"), digit)):
        status, out, err = ask(run, about, "--explain")
        assert (status, "error" in err) == (0, False)
        own = ask(run, about)[1].split()
        assert out.splitlines()[-2].replace("(", "").replace(")", "").split() == own[:2]
        assert out.splitlines()[-1] == f"picture: {RunDir(run).path / 'explain.png'}"
        assert_picture(RunDir(run).path / "explain.png", 1650)
        to = tmp_path / "mine.PNG"
        assert ask(run, about, "--explain", "--out", str(to))[0] == 0
        assert_picture(to, 1650)
        (RunDir(run).path / "explain.png").unlink()


def test_a_mistake_is_one_line_and_nothing_is_drawn(
    ask, text_run, image_run, digit, tmp_path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    text, image = text_run("mean"), image_run("rows")
    for args, message in {
        (text, "good", "--out", "x.png"): "--out is where --explain draws to; add --explain",
        (text, "good", "--explain", "--out", "x.jpg"): "x.jpg is no name of a PNG",
        (text, "good", "--explain", "--out", f"{tmp_path}/no/x.png"): "is no directory; make it",
        (text, "", "--explain"): "the text has no words",
        (text, "--explain", "--file", str(tmp_path / "none")): "cannot be read: No such file",
        (image, digit, "--explain", "--out", digit): "is what is asked about; name another",
        (image, "--explain", "--file", digit, "--out", digit): "is what is asked about",
        (image, "7", "--explain"): "7 cannot be read",
        (str(tmp_path), "good", "--explain"): "is no run",
    }.items():
        status, out, err = ask(*args)
        assert (status, out) == (2, ""), args
        assert message in err
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert not (RunDir(text).path / "explain.png").exists()


def test_a_word_of_any_script_has_room_in_the_picture():
    """Chinese letters are two wide, and so is the box of a letter that no font has."""
    assert plots._columns("film") == 4
    assert plots._columns("\u6620\u753b") == 4
    assert plots._columns("\u03a9\U00010900") == 1 + 2  # Greek, which is there; Phoenician
    answers = explain.Words(("\u6620" * 200,), np.array([True]), np.zeros(2), 0, "good", "bad")
    assert plots._columns(plots._shown(answers, 0)) <= plots._COLUMNS
