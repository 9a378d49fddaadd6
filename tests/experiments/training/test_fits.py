"""A network that cannot fit into memory is refused before a number of it is drawn."""

import pytest
from small_run import runner

from experiments.config.cli import UserError
from experiments.config.imdb import Settings
from experiments.config.settings import Model, Training
from experiments.training import fits

# LSTM(units): 4 * units * (32 + units) + 4 * units; an embedding of 100 * 32; units + 1.
SMALL = 100 * 32 + 4 * 8 * (32 + 8) + 4 * 8 + 9


def settings(**training):
    return Settings(model=Model(units=8), training=Training(**training))


@pytest.mark.parametrize(
    ("training", "copies"),
    [({"optimizer": "rmsprop"}, 4), ({"optimizer": "adam"}, 5),
     ({"optimizer": "adam", "average": 0.9}, 6)],
)  # fmt: skip
def test_what_is_counted_is_parameters_gradient_and_optimizer(monkeypatch, training, copies):
    needed = 4 * SMALL * copies
    monkeypatch.setattr(fits, "available", lambda: needed)
    fits.check(settings(**training), 100)
    monkeypatch.setattr(fits, "available", lambda: needed - 1)
    with pytest.raises(UserError, match=f"--units 8, --layers 1, --members 1: .* {SMALL:,} param"):
        fits.check(settings(**training), 100)


def test_a_model_that_is_too_large_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"7,\d{3},\d{3},\d{3} parameters, and to train them takes"):
        runner(tmp_path / "run", "--units", "16384", "--layers", "4")
    assert not (tmp_path / "run").exists()


def test_where_the_system_does_not_say_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(fits, "available", lambda: None)
    fits.check(Settings(model=Model(units=16384, layers=64)), 100)
