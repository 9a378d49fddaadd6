"""Letters of any script: drawn from another font, or said not to be there."""

import logging

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from experiments.plots import fonts
from experiments.plots.style import save


def test_letters_that_no_font_has_are_told():
    assert fonts.lacking("Käse, Ω and a film", ["DejaVu Sans Mono"]) == ""
    assert fonts.lacking("a 好 film 好 で", ["DejaVu Sans Mono"]) == "好で"


def test_a_font_that_is_there_is_asked_after_the_first(monkeypatch):
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["Yu Gothic", "x", "SimHei"])
    fonts.families.cache_clear()
    assert fonts.families("DejaVu Sans Mono") == ["DejaVu Sans Mono", "SimHei", "Yu Gothic"]
    fonts.families.cache_clear()


def test_the_second_font_gives_what_the_first_lacks():
    """Computer Modern has no arrow at that place; DejaVu has."""
    first = ["cmr10"]
    letter = "→"
    assert fonts.lacking(letter, first) == letter
    assert fonts.lacking(letter, [*first, "DejaVu Sans"]) == ""


def test_a_family_that_stands_for_several_is_asked_too():
    assert fonts.lacking("a 好 film", ["sans-serif"]) == "好"


@pytest.fixture
def labelled():
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_ylabel("probability of 好")
    axes.text(0, 0, "plain")
    return figure, axes


def notes(figure):
    return [text.get_text() for text in figure.texts]


def test_a_picture_says_that_it_has_letters_without_a_font(labelled, tmp_path, monkeypatch):
    """Boxes look alike, and a person wonders what they are."""
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans"])
    figure, axes = labelled
    save(figure, tmp_path / "it.png")
    assert notes(figure) == [fonts.NOTE]
    save(figure, tmp_path / "again.png")
    assert notes(figure) == [fonts.NOTE]
    axes.set_ylabel("probability of Ω")
    figure.texts[0].remove()
    save(figure, tmp_path / "it.png")
    assert notes(figure) == []


def test_every_text_of_a_picture_is_given_the_font_that_is_there(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans", "SimHei"])
    figure, axes = labelled
    save(figure, tmp_path / "it.png")
    assert axes.yaxis.label.get_fontfamily()[-1] == "SimHei"
    assert "SimHei" not in axes.texts[0].get_fontfamily()


def test_a_font_without_bold_letters_is_not_spoken_of(labelled, tmp_path, caplog):
    figure, axes = labelled
    axes.set_title("好", fontweight="bold", fontfamily=["cmr10", "cmtt10"])
    font_manager.fontManager._findfont_cached.cache_clear()
    with caplog.at_level(logging.WARNING):
        save(figure, tmp_path / "it.png")
    assert "findfont" not in caplog.text
