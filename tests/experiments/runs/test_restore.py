"""A `config.json` from anybody: its settings are held to the bounds of the command line."""

import json
import shutil

import pytest
from small_run import runner

from experiments import export, imdb
from experiments.config.cli import UserError
from experiments.config.imdb import Settings
from experiments.predict import __main__ as predict
from experiments.runs.directory import RunDir
from experiments.runs.restore import arguments, settings_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    runner(path, "--epochs", "1").fit()
    return path


HOSTILE = [
    ({"units": 10**9}, "--units is 1000000000; give a number at least 1 and at most 16384"),
    ({"units": 10**400}, "--units"),
    ({"units": "many"}, "--units: invalid"),
    ({"units": [4]}, "--units"),
    ({"units": {"a": 1}}, "--units"),
    ({"units": -3}, "--units is -3"),
    ({"units": 4.5}, "--units"),
    ({"units": True}, "units"),
    ({"layers": 10**9}, "--layers is"),
    ({"members": 10**6}, "--members is"),
    ({"max_length": 10**12}, "--max-length is"),
    ({"embedding": 0}, "--embedding is 0"),
    ({"cell": "--help"}, "'--help' for argument '--cell'"),
    ({"cell": "../../etc/passwd"}, "for argument '--cell'"),
    ({"cell": ["lstm"]}, "for argument '--cell'"),
    ({"dropout": float("nan")}, "--dropout is nan"),
    ({"dropout": float("inf")}, "--dropout is inf"),
    ({"seed": -1}, "--seed is -1"),
    ({"readout": "\x1b[2J"}, "for argument '--readout'"),
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
    directory, config = RunDir(whole), RunDir(whole).config()
    found = settings_of(directory, config, Settings)
    assert found["units"] == 4
    for name, value in config["settings"].items():
        if value is not None and name != "run_dir":
            assert found[name] == value
    words = arguments(whole / "config.json", "imdb")
    assert "--units=4" in words
    assert not any(word.startswith("--run-dir") for word in words)
