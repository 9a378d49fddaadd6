"""Letters of any script: drawn from another font, or said not to be there."""

from matplotlib import font_manager

from experiments.plots import fonts


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
