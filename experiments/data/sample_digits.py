"""Draws the built-in sample of digits from the fonts that matplotlib brings, bent and blurred.

Every glyph is rendered large, in three thicknesses; an image is one of them, seen through a random
affine map. A small image's point p is looked up in the large one at

    q = scale * R(angle) * shear * (p - centre - shift) + centre of mass

after the large one was averaged over the area of a small pixel. Everything is drawn from `stream`
alone, so the images are the same at every start.
"""

import functools
import itertools
from pathlib import Path

import numpy as np

from experiments.data.shuffling import generator, permutation, uniform

SIDE = 28
# Pixels of the large glyph for one of the small image.
_FINE = 3
_LARGE = 40 * _FINE
# Thickness added around a glyph, in large pixels.
_STROKES = (0, 1, 2)

_FONTS = (
    *(f"DejaVuSans{kind}" for kind in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{kind}" for kind in ("", "-Oblique")),
    *(f"DejaVuSerif{kind}" for kind in ("", "-Bold", "-Italic")),
    *(f"STIXGeneral{kind}" for kind in ("", "Bol", "Italic", "BolIta")),
    *(f"cm{kind}10" for kind in ("r", "ss", "tt", "ti", "b")),
)


def draw(n: int, *, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` digits, as many of each as can be: uint8 [n, 28, 28] white on black, labels int32 [n]."""
    source = generator(0, stream)
    labels = (permutation(source, n) % 10).astype(np.int32)
    glyphs = _glyphs()

    def between(low: float, high: float) -> np.ndarray:
        return (low + (high - low) * uniform(source, n)).astype(np.float32)[:, None]

    style = (uniform(source, n) * (len(glyphs) // 10)).astype(np.int64)
    which = style * 10 + labels
    angle, shear = between(-0.25, 0.25), between(-0.3, 0.3)
    wide, high = between(0.8, 1.2), between(0.85, 1.15)
    shift, light = (between(-2, 2), between(-2, 2)), between(0.75, 1)

    # The inverse map, small to large; both axes as (down, across).
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, 1, -1).astype(np.float32) - (SIDE - 1) / 2
    y, x = y - shift[0], x - shift[1]
    cos, sin = np.cos(angle), np.sin(angle)
    y, x = cos * y - sin * x, sin * y + cos * x
    x = x + shear * y
    middle = (_LARGE - 1) / 2
    at = np.stack([y / high, x / wide]) * np.float32(_FINE) + np.float32(middle)
    pixels = np.rint(_look_up(glyphs, which, at) * light)
    return pixels.astype(np.uint8).reshape(n, SIDE, SIDE), labels


def _look_up(images: np.ndarray, which: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear values of `images[which[n]]` at the points `at` [2, n, P]; float32 [n, P].

    `images` is uint8 [k, L, L] and black at its edge.
    """
    side = images.shape[1]
    at = np.clip(at, 0, side - np.float32(1.01))
    low = at.astype(np.int32)
    v, u = at - low
    corner = (which[:, None] * side + low[0]) * side + low[1]
    flat = images.reshape(-1)
    above = flat[corner] * (1 - u) + flat[corner + 1] * u
    below = flat[corner + side] * (1 - u) + flat[corner + side + 1] * u
    return above * (1 - v) + below * v


@functools.cache
def _glyphs() -> np.ndarray:
    """Large digits around their centre of mass, uint8 [fonts * strokes * 10, L, L]."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # The mean over the area of a small pixel.
    blur = ImageFilter.BoxBlur((_FINE - 1) / 2)
    glyphs = []
    for name in _FONTS:
        # The fonts' digits differ in size; all are made as high as MNIST's: 20 of 28 pixels.
        _, top, _, bottom = ImageFont.truetype(folder / f"{name}.ttf", 100).getbbox("0")
        size = 100 * 20 * _FINE / (bottom - top)
        font = ImageFont.truetype(folder / f"{name}.ttf", round(size))
        for stroke, digit in itertools.product(_STROKES, "0123456789"):
            image = Image.new("L", (_LARGE, _LARGE))
            left, top, right, bottom = font.getbbox(digit, stroke_width=stroke)
            place = ((_LARGE - left - right) / 2, (_LARGE - top - bottom) / 2)
            ImageDraw.Draw(image).text(place, digit, 255, font, stroke_width=stroke)
            glyphs.append(_centred(np.asarray(image.filter(blur))))
    return np.stack(glyphs)


def _centred(image: np.ndarray) -> np.ndarray:
    """The image [L, L], rolled so that its centre of mass is in the middle."""
    at = np.arange(len(image)) - (len(image) - 1) / 2
    down, across = (round((image.sum(axis) * at).sum() / image.sum()) for axis in (1, 0))
    return np.roll(image, (-down, -across), (0, 1))
