"""Finds fonts for letters that matplotlib's own lacks: a text may be in any script."""

import functools
from collections.abc import Sequence

# Chinese, Japanese and Korean, as systems and packages of fonts call them.
WIDE = (
    *("Noto Sans Mono CJK SC", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei Mono", "WenQuanYi Micro Hei", "IPAGothic", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans", "Heiti TC", "Arial Unicode MS"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic"),
)

# Where `lacking` finds some.
NOTE = "□: a letter that no font of this machine has; install one, such as Noto Sans CJK"


@functools.cache
def families(first: str) -> list[str]:
    """`first`, and all of `WIDE` that this machine has: matplotlib takes a letter from each."""
    return readable((first,))


def readable(names: Sequence[str]) -> list[str]:
    """These fonts, and the others of `families`."""
    from matplotlib import font_manager

    there = set(font_manager.get_font_names()) - set(names)
    return [*names, *(name for name in WIDE if name in there)]


def lacking(text: str, names: Sequence[str]) -> str:
    """The letters of a text that none of these fonts has, each once: they are drawn as boxes."""
    from matplotlib import font_manager

    # By its property: a bare name is a pattern, in which a hyphen has a meaning.
    found = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in names]
    fonts = [font_manager.get_font(path) for path in found]
    letters = dict.fromkeys(letter for letter in text if not letter.isspace())
    return "".join(x for x in letters if not any(font.get_char_index(ord(x)) for font in fonts))
