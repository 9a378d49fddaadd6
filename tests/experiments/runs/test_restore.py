"""A `config.json` from anybody: its settings are held to the bounds of the command line."""

import json
import shutil

import pytest
from small_run import runner

from experiments import export, imdb
from experiments.config.cli import UserError
from experiments.config.imdb import RECIPES, Settings
from experiments.config.settings import flatten
from experiments.predict import __main__ as predict
from experiments.runs.directory import RunDir
from experiments.runs.restore import parse_training, settings_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    runner(path, "--epochs", "1").fit()
    return path


HOSTILE = [
    ({"units": 10**9}, "--units is 1000000000; give a number at least 1 and at most 16384"),
    ({"units": 10**400}, "--units"),
    ({"units": "many"}, "--units is 'many'; give a whole number"),
    ({"units": [4]}, "--units"),
    ({"units": {"a": 1}}, "--units"),
    ({"units": -3}, "--units is -3"),
    ({"units": 4.5}, "--units"),
    ({"units": True}, "units"),
    ({"layers": 10**9}, "--layers is"),
    ({"members": 10**6}, "--members is"),
    ({"max_length": 10**12}, "--max-length is"),
    ({"embedding": 0}, "--embedding is 0"),
    ({"cell": "--help"}, "--cell is '--help'; give one of rnn, lstm"),
    ({"cell": "../../etc/passwd"}, "--cell is '../../etc/passwd'"),
    ({"cell": ["lstm"]}, "--cell is ['lstm']"),
    ({"dropout": float("nan")}, "--dropout is nan"),
    ({"dropout": float("inf")}, "--dropout is inf"),
    ({"seed": -1}, "--seed is -1"),
    ({"readout": "\x1b[2J"}, "--readout is"),
    # In bounds, and nothing that fits the checkpoint: no memory is taken for it.
    ({"units": 16384, "layers": 2, "embedding": 16384}, "is expected here"),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_settings_of_somebody_are_one_line(whole, tmp_path, change, message):
    path = shutil.copytree(whole, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    config["settings"] |= change
    (path / "config.json").write_text(json.dumps(config))
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    for ask in (
        lambda: predict.main([str(path), "a good film"]),
        lambda: export.main([str(path)]),
    ):
        with pytest.raises(UserError) as caught:
            ask()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("text", ["[" * 100_000, '{"settings": ' * 50_000, "[]", "", "\x00"])
def test_a_config_that_is_none(whole, tmp_path, text):
    path = shutil.copytree(whole, tmp_path / "run")
    (path / "config.json").write_text(text)
    for ask in (
        lambda: predict.main([str(path), "a good film"]),
        lambda: export.main([str(path)]),
        lambda: imdb.main(["--config", str(path / "config.json")]),
    ):
        with pytest.raises(UserError, match=r"config\.json") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_no_value_and_no_name_is_taken_for_a_flag(tmp_path):
    """`--help` in a file would print the help and exit with 0."""
    for settings, message in (
        ({"cell": "--help"}, "--cell"),
        ({"help": 1}, "help is no setting"),
        ({"run_dir": "../elsewhere", "h": True}, "h"),
        ({"no_such": 3}, "--no-such"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"task": "imdb", "settings": settings}))
        with pytest.raises(UserError, match=message):
            imdb.main(["--config", str(tmp_path / "config.json")])


def test_what_a_run_wrote_comes_back(whole):
    config = RunDir(whole).config()
    fields = flatten(settings_of(RunDir(whole)))
    for name, value in config["settings"].items():
        assert fields[name] == (None if name == "run_dir" else value)


def test_flags_override_the_file_and_the_file_the_recipe(whole, tmp_path):
    """A file written by hand may hold a few settings only."""
    args = ["--config", str(whole / "config.json"), "--layers", "2"]
    settings = parse_training(Settings, args, "imdb", RECIPES)
    assert (settings.model.units, settings.model.layers, settings.run.run_dir) == (4, 2, None)
    (tmp_path / "config.json").write_text(
        json.dumps({"task": "imdb", "settings": {"recipe": "stacked", "units": 5}})
    )
    settings = parse_training(
        Settings, ["--config", str(tmp_path / "config.json")], "imdb", RECIPES
    )
    assert (settings.model.units, settings.model.layers, settings.text.embedding) == (5, 2, 100)


def test_a_run_from_before_a_setting_is_one_without_it(whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    for name in ("hidden", "members", "bigrams", "average", "epsilon", "label_smoothing"):
        del config["settings"][name]
    (path / "config.json").write_text(json.dumps(config))
    settings = settings_of(RunDir(path))
    assert (settings.model.members, settings.text.bigrams, settings.training.average) == (1, 0, 0)
    del config["settings"]["units"]
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: the setting 'units' is missing"):
        settings_of(RunDir(path))


@pytest.mark.parametrize("form", [["--resume", "{}"], ["--resume={}"]])
def test_a_run_is_resumed_by_its_name_alone(whole, form):
    """With its own settings, those included that are free, and its own data."""
    config = json.loads((whole / "config.json").read_text())
    args = [word.format(whole) for word in form]
    settings = parse_training(Settings, [*args, "--checkpoint-steps", "5"], "imdb", RECIPES)
    expected = config["settings"] | {"resume": True, "run_dir": str(whole), "checkpoint_steps": 5}
    assert flatten(settings) == expected


def test_what_says_twice_what_to_begin_with_is_refused(whole, tmp_path):
    config = str(whole / "config.json")
    for args, message in (
        (["--config", config, "--recipe", "lstm"], "--config and --recipe both say what to begin"),
        (["--resume", str(tmp_path)], f"--resume {tmp_path} is no run: it has no config.json"),
    ):
        with pytest.raises(UserError, match=message):
            parse_training(Settings, args, "imdb", RECIPES)
    assert parse_training(Settings, ["--resume"], "imdb", RECIPES).run.resume
