"""Asks an export as a stranger does: by its README's loader, with jax and NumPy alone."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_mnist
from own_texts import examples, table, write
from small_run import digits_runner, runner

from experiments import export, imdb
from experiments.config.cli import UserError
from experiments.predict import image, text
from experiments.runs.directory import RunDir

# What `pip install jax flatbuffers` brings.
PACKAGES = ("jax", "jaxlib", "ml_dtypes", "numpy", "opt_einsum", "scipy", "flatbuffers")
LINES = 20

TEXTS = [
    "a good film",
    "BAD, bad\u2019s \u201cplot\u201d<br />of the scene...",
    "Unheard-of e\u0301tude 7/10: the actor don`t a film plot good good bad film a a a plot",
    "the salt, the butter and the dough of the coach",
    "",
    "_ \u0130stanbul \x92 'film' ''good'",
]

STRANGER = """
import sys
sys.path.append({packages!r})
for ours in ("jaxrnn", "experiments", "flax", "safetensors", "optax"):
    try:
        __import__(ours)
    except ModuleNotFoundError:
        continue
    sys.exit(ours + " can be imported")
{loader}
import json
asked = json.load(open("asked.json"))
found = [ask(x if isinstance(x, str) else np.array(x, np.uint8)) for x in asked]
print(json.dumps([[[name, float(p)] for name, p in answer.items()] for answer in found]))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A directory with these packages alone, whatever else is installed here."""
    place = tmp_path_factory.mktemp("packages")
    for package in PACKAGES:
        files = importlib.metadata.files(package)
        for top in {Path(file).parts[0] for file in files} - {".."}:
            os.symlink(importlib.metadata.distribution(package).locate_file(top), place / top)
    return place


def loader_of(run):
    page = (run / "export" / "README.md").read_text(encoding="utf-8")
    assert "$" not in page, "a fact is missing"
    return re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]


def asked_abroad(run, packages, place, asked):
    """What the loader answers, in a copy of the export and nowhere near this project."""
    shutil.copytree(run / "export", place / "model")
    (place / "model" / "asked.json").write_text(json.dumps(asked))
    code = STRANGER.format(packages=str(packages), loader=loader_of(run))
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        cwd=place / "model", env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [dict(answer) for answer in json.loads(done.stdout)]


def three(path):
    write(path / "topics.csv", table(examples(60), names=("text", "label")))
    flags = "--cell gru --units 3 --embedding 3 --max-length 9 --truncate tail --epochs 1"
    args = ["--data", str(path / "topics.csv"), "--run-dir", str(path / "run"), *flags.split()]
    assert imdb.main(args) == 0
    return path / "run"


def two(path):
    flags = "--epochs 1 --layers 2 --bidirectional --average 0.9 --bigrams 7 --members 2"
    runner(path / "run", *flags.split()).fit()
    return path / "run"


@pytest.mark.parametrize("make", [three, two])
def test_a_text_is_answered_as_predict_answers_it(packages, tmp_path, make):
    run = make(tmp_path)
    export.main([str(run)])
    found = asked_abroad(run, packages, tmp_path, TEXTS)
    for asked, answer in zip(TEXTS, found, strict=True):
        if not asked:
            assert sum(answer.values()) == pytest.approx(1)  # predict asks for a word
            continue
        own = text.answer(RunDir(run), asked, None).probabilities
        assert list(answer) == list(own)
        # float32, fused otherwise.
        np.testing.assert_allclose(list(answer.values()), list(own.values()), atol=2e-6)
    # A text that is cut, and at the other end it is another.
    assert len(TEXTS[2].split()) > 9


@pytest.mark.parametrize("flags", [(), ("--permute", "3")])
def test_an_image_is_answered_as_predict_answers_it(packages, tmp_path, flags):
    data = tiny_mnist.sample(40, 20)
    digits_runner(tmp_path / "run", data, "--units", "3", "--epochs", "1", *flags).fit()
    export.main([str(tmp_path / "run")])
    pixels = data.test.pixels[:3]
    found = asked_abroad(tmp_path / "run", packages, tmp_path, pixels.tolist())
    own = image.classify(RunDir(tmp_path / "run"), pixels)
    for answer, expected in zip(found, own, strict=True):
        assert list(answer) == list("0123456789")
        np.testing.assert_allclose(list(answer.values()), expected, atol=2e-6)
    rule = json.loads((tmp_path / "run" / "export" / "export.json").read_text())["image"]
    assert (rule["paper"], rule["ink"], rule["scale"]) == (0, 255, 1 / 255)
    assert (rule["order"] is None) == (not flags)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    run = two(tmp_path_factory.mktemp("two"))
    export.main([str(run)])
    return run


def test_the_loader_is_short_and_needs_jax_and_numpy_alone(text_run):
    code = loader_of(text_run)
    assert len([line for line in code.splitlines() if line.strip()]) <= LINES
    assert max(map(len, code.splitlines())) <= 100
    imported = re.findall(r"^(?:import (.+)|from (\w+))", code, re.MULTILINE)
    names = {n.split()[0] for pair in imported for part in pair for n in part.split(", ") if n}
    assert names - {"json", "re", "unicodedata"} == {"numpy", "jax"}


def test_the_card_says_how_ids_are_made(text_run):
    card = json.loads((text_run / "export" / "export.json").read_text())
    assert (card["classes"], card["activation"]) == (["negative", "positive"], "sigmoid")
    rule = card["text"]
    assert [rule[name] for name in ("padding", "start", "unknown", "first_word")] == [0, 1, 2, 3]
    assert (rule["max_length"], rule["kept"], rule["vocabulary"]) == (8, "last", "vocabulary.txt")
    vocabulary = (text_run / "vocabulary.txt").read_bytes()
    assert (text_run / "export" / "vocabulary.txt").read_bytes() == vocabulary
    assert set(card["sha256"]) == {"model.stablehlo", "weights.safetensors", "vocabulary.txt"}
    for example in card["examples"]:
        if example["text"]:
            own = text.answer(RunDir(text_run), example["text"], None).probabilities
            np.testing.assert_allclose(example["probabilities"], list(own.values()), atol=2e-6)
        assert len(example["ids"]) <= 8


def test_check_sees_other_facts_and_another_vocabulary(text_run, tmp_path):
    run = shutil.copytree(text_run, tmp_path / "run")
    export.main([str(run), "--check"])
    path = run / "export" / "export.json"
    card = json.loads(path.read_text())
    for change in (
        {"classes": ["positive", "negative"]},
        {"activation": "softmax"},
        {"text": card["text"] | {"start": 2}},
    ):
        path.write_text(json.dumps(card | change))
        with pytest.raises(UserError, match=r"export\.json says other things of its inputs and ou"):
            export.main([str(run), "--check"])
    path.write_text(json.dumps(card))
    words = run / "export" / "vocabulary.txt"
    words.write_text(words.read_text().replace("film", "flim"))
    with pytest.raises(UserError, match=r"vocabulary\.txt is damaged: its digest differs"):
        export.main([str(run), "--check"])
