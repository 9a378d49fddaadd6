"""The picture of what is taken for what: any names, any number of classes, nothing cut."""

import itertools
import warnings

import matplotlib.image
import numpy as np
import pytest

from experiments.plots.confusion import Confusion, picture
from experiments.plots.style import save
from experiments.report.table import by_class
from experiments.runs.results import Loaded


def confusions(names):
    rng = np.random.default_rng(0)
    return Confusion(tuple(names), rng.integers(0, 9, (len(names),) * 2))


def drawn(found):
    return picture(found, title="t", unit="texts", axes=("answer", "label"))


@pytest.mark.parametrize(
    "names",
    [
        ("no", "yes"),
        ("a rather long name of a class of texts", "$x_1$ and $y^2$", "映画"),
        [f"class number {n}" for n in range(40)],
    ],
)
def test_names_neither_touch_nor_are_cut(tmp_path, names):
    figure = drawn(confusions(names))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        save(figure, tmp_path / "c.png")
    pixels = matplotlib.image.imread(tmp_path / "c.png")[..., :3]
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.min() > 0.95, "nothing is cut off"
    axes = figure.axes[0]
    for axis, size in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        boxes = [label.get_window_extent() for label in axis.get_majorticklabels()]
        ends = sorted((getattr(b, f"{size}0"), getattr(b, f"{size}1")) for b in boxes)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(ends))
    assert [t.get_text()[:10] for t in axes.get_yticklabels()] == [name[:10] for name in names]


def test_of_many_classes_the_worst_are_drawn():
    counts = np.eye(60, dtype=int) * 5
    counts[50, 3] = counts[3, 51] = 7
    figure = drawn(Confusion(tuple(f"c{n}" for n in range(60)), counts))
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(shown) == 40
    assert {"c3", "c50", "c51"} <= set(shown)
    assert figure.get_suptitle() == "t\nthe 40 classes with the most mistakes, of 60"
    written = {t.get_text() for t in figure.axes[0].texts}
    assert {"7", "5", "41.7%", "100.0%"} <= written


def test_a_class_without_a_test_text_is_no_number(tmp_path):
    from experiments.plots import confusion

    confusion.write(tmp_path, Confusion(("a|b", "c"), np.array([[3, 1], [0, 0]])))
    assert by_class([Loaded("run", {}, [], None, tmp_path)]) == (
        "\n| answered rightly | a\\|b | c |\n| --- | --- | --- |\n"
        "| run | 0.7500 of 4 | none to test on |\n"
    )
