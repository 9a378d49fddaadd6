"""Draws pictures of a digit as people take them: on paper, in a frame, in a shadow, on a screen.

A kind is a function of a digit, white on black as MNIST's (uint8 [28, 28]), and of a generator of
random numbers; it gives the content of a file. The same generator gives the same bytes.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

SIDE = 320
# The parts of light that paper and ink send back.
PAPER, INK = 0.9, 0.15

Generator = np.random.Generator
Kind = Callable[[np.ndarray, Generator], bytes]


def png(pixels: np.ndarray, **options: object) -> bytes:
    """Values from 0 to 1 (grey, colour, or colour and alpha) as a file."""
    content = io.BytesIO()
    image = Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    image.save(content, **({"format": "PNG"} | options))
    return content.getvalue()


def stroke(digit: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The digit with sharp edges, so many pixels high and wide: 1 is ink."""
    ends = {"grid_mode": True, "mode": "grid-constant"}
    large = ndimage.zoom(digit.astype(float) / 255, side / 28, order=3, **ends)
    return np.clip((large - 0.25) / 0.5, 0, 1)


def page(ink: np.ndarray, random: Generator, paper: float = PAPER) -> np.ndarray:
    """Ink on paper, the paper a little rough."""
    return paper + (INK - paper) * ink + random.normal(0, 0.008, ink.shape)


def across(random: Generator, side: int = SIDE) -> np.ndarray:
    """From 0 to 1 in some direction across the picture."""
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    ramp = np.cos(angle) * x + np.sin(angle) * y
    return (ramp - ramp.min()) / np.ptp(ramp)


def clean(digit: np.ndarray, random: Generator) -> bytes:
    """Dark ink on white paper."""
    return png(page(stroke(digit), random))


def inverted(digit: np.ndarray, random: Generator) -> bytes:
    """Light on dark."""
    return png(1 - page(stroke(digit), random))


def alpha(digit: np.ndarray, random: Generator) -> bytes:
    """Black or white on nothing."""
    ink = stroke(digit)
    grounds = [np.full_like(ink, random.integers(2))] * 3
    return png(np.stack([*grounds, ink], axis=-1))


def colour(digit: np.ndarray, random: Generator) -> bytes:
    """A dark pen of some colour on paper of a light one."""
    pen, paper = random.uniform(0, 0.45, 3), random.uniform(0.75, 1, 3)
    ink = stroke(digit)[..., None]
    return png(paper + (pen - paper) * ink)


def jpeg(digit: np.ndarray, random: Generator) -> bytes:
    """Small and badly compressed."""
    pixels = page(stroke(digit, 140), random)
    return png(pixels, format="JPEG", quality=int(random.integers(15, 40)))


def thin_pen(digit: np.ndarray, random: Generator) -> bytes:
    """A line along the middle of the strokes, a third as wide as they are."""
    deep = ndimage.distance_transform_edt(stroke(digit) > 0.5)
    line = deep > np.maximum(0.65 * ndimage.maximum_filter(deep, 31), 1)
    return png(page(ndimage.gaussian_filter(line.astype(float), 0.8), random))


def corner(digit: np.ndarray, random: Generator) -> bytes:
    """Small in a corner of a page."""
    ink, small = np.zeros((700, 500)), stroke(digit, 90)
    top, left = 20 + random.integers(2) * 560, 20 + random.integers(2) * 360
    ink[top : top + 90, left : left + 90] = small
    return png(page(ink, random))


def _lines(random: Generator) -> np.ndarray:
    every, first = int(random.integers(26, 44)), int(random.integers(26))
    rows = np.zeros(SIDE)
    for at in range(first, SIDE - 1, every):
        rows[at : at + 2] = 1
    return rows


def squared(digit: np.ndarray, random: Generator) -> bytes:
    """On squared paper, its lines faint."""
    lines = np.maximum(_lines(random)[:, None], _lines(random)[None])
    return png(page(np.maximum(stroke(digit), 0.07 * lines), random))


def lined(digit: np.ndarray, random: Generator) -> bytes:
    """On lined paper, its lines faint."""
    lines = np.repeat(_lines(random)[:, None], SIDE, axis=1)
    return png(page(np.maximum(stroke(digit), 0.07 * lines), random))


def strongly_lined(digit: np.ndarray, random: Generator) -> bytes:
    """On squared or lined paper, its lines plain to see."""
    rows, columns = _lines(random), _lines(random) * random.integers(2)
    lines = np.maximum(rows[:, None], columns[None])
    return png(page(np.maximum(stroke(digit), random.uniform(0.2, 0.4) * lines), random))


def frame(digit: np.ndarray, random: Generator) -> bytes:
    """A line round the field, at the edge of the picture."""
    ink, wide = stroke(digit), int(random.integers(2, 7))
    ink[:wide] = ink[-wide:] = ink[:, :wide] = ink[:, -wide:] = random.uniform(0.5, 1)
    return png(page(ink, random))


def frame_with_margin(digit: np.ndarray, random: Generator) -> bytes:
    """A line round the field, and paper round the line: straight, or a little askew."""
    ink, wide = np.zeros((SIDE + 200, SIDE + 200)), int(random.integers(2, 6))
    ink[40:-40, 40:-40] = random.uniform(0.6, 1)
    ink[40 + wide : -40 - wide, 40 + wide : -40 - wide] = 0
    ink = ndimage.rotate(ink, random.uniform(-4, 4), reshape=False, order=1)
    ink[100:-100, 100:-100] = np.maximum(ink[100:-100, 100:-100], stroke(digit))
    return png(page(ink, random))


def dust(digit: np.ndarray, random: Generator) -> bytes:
    """A few specks far from the digit, somewhere on a large sheet."""
    ink, side = np.zeros((2 * SIDE, 2 * SIDE)), 2 * SIDE
    top, left = random.integers(SIDE, size=2)
    ink[top : top + SIDE, left : left + SIDE] = stroke(digit)
    y, x = np.mgrid[:side, :side]
    for _ in range(random.integers(1, 6)):
        row, column = random.uniform(10, side - 10, 2)
        if min(abs(row - top - SIDE / 2), abs(column - left - SIDE / 2)) > SIDE / 2:
            ink[np.hypot(y - row, x - column) < random.uniform(1.5, 6)] = random.uniform(0.6, 1)
    return png(page(ink, random))


def shading(digit: np.ndarray, random: Generator) -> bytes:
    """A lamp at one side: the other gets a fifth to a third of the light."""
    darkest = random.uniform(0.2, 0.35)
    light = darkest + (1 - darkest) * across(random)
    return png(page(stroke(digit), random) * light)


def _from_corner(random: Generator) -> np.ndarray:
    """The distance of each pixel from some corner, in sides of the picture."""
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    return np.rot90(np.hypot(y, x * random.uniform(0.7, 1.4)), random.integers(4))


def corner_shadow(digit: np.ndarray, random: Generator) -> bytes:
    """The soft shadow of a hand over a corner."""
    away = _from_corner(random) - random.uniform(0.4, 0.9)
    shadow = 1 / (1 + np.exp(away / random.uniform(0.02, 0.07)))
    return png(page(stroke(digit), random) * (1 - random.uniform(0.35, 0.65) * shadow))


def strip(digit: np.ndarray, random: Generator) -> bytes:
    """The dark strip that a scanner leaves at one side or two."""
    pixels = page(stroke(digit), random)
    for _ in range(random.integers(1, 3)):
        turned = np.rot90(pixels, random.integers(4))  # the same memory, seen from another side
        ends = random.integers(4, 30) + np.cumsum(random.normal(0, 0.3, SIDE)).astype(int)
        for row, end in enumerate(np.clip(ends, 2, 40)):
            turned[row, :end] = random.uniform(0.05, 0.2)
    return png(pixels)


def table(digit: np.ndarray, random: Generator) -> bytes:
    """A sheet on a dark table, not quite straight."""
    sheet = np.zeros((SIDE + 160, SIDE + 160))
    ink = sheet.copy()
    sheet[60:-60, 60:-60] = 1
    sheet = ndimage.rotate(sheet, random.uniform(-6, 6), reshape=False, order=1)
    ink[80:-80, 80:-80] = stroke(digit)
    wood = random.uniform(0.2, 0.4) + random.normal(0, 0.02, sheet.shape)
    return png(wood + sheet * (page(ink, random) - wood))


def pencil(digit: np.ndarray, random: Generator) -> bytes:
    """A pencil: a third of the contrast, uneven, on paper that is not quite even."""
    grain = ndimage.gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), 1.5)
    ink = stroke(digit) * np.clip(0.4 + 0.3 * grain, 0.15, 0.6)
    light = 0.85 + 0.15 * across(random)
    return png((page(ink, random) + random.normal(0, 0.015, ink.shape)) * light)


def telephone(digit: np.ndarray, random: Generator) -> bytes:
    """A photo: noise, a lamp at one side, a corner in the shadow, a little out of focus, JPEG."""
    pixels = page(stroke(digit), random) * (0.45 + 0.55 * across(random))
    away = _from_corner(random) - random.uniform(0.3, 0.7)
    pixels *= 1 - 0.4 / (1 + np.exp(away / 0.04))
    pixels = ndimage.gaussian_filter(pixels, random.uniform(0.5, 2))
    return png(pixels + random.normal(0, 0.02, pixels.shape), format="JPEG", quality=60)


def blackboard(digit: np.ndarray, random: Generator) -> bytes:
    """Chalk on a board in uneven light, its frame at one side."""
    chalk = stroke(digit) * np.clip(random.normal(0.9, 0.2, (SIDE, SIDE)), 0.3, 1)
    board = (0.15 + 0.6 * chalk + random.normal(0, 0.01, chalk.shape)) * (
        0.5 + 0.5 * across(random)
    )
    turned = np.rot90(board, random.integers(4))  # the same memory, seen from another side
    turned[: random.integers(5, 15)] = 0.6
    return png(board)


KINDS: dict[str, Kind] = {
    made.__name__.replace("_", " "): made
    for made in (
        clean, inverted, alpha, colour, jpeg, thin_pen, corner, squared, lined,
        frame, frame_with_margin, dust, shading, corner_shadow, strip,
        strongly_lined, table, pencil, telephone, blackboard,
    )
}  # fmt: skip


def two(left: np.ndarray, right: np.ndarray, random: Generator) -> bytes:
    """Two digits beside each other."""
    ink = np.zeros((SIDE, 2 * SIDE - 60))
    for digit, at in ((left, 0), (right, SIDE - 60)):
        ink[:, at : at + SIDE] = np.maximum(ink[:, at : at + SIDE], stroke(digit))
    return png(page(ink, random))


def cut(digit: np.ndarray, random: Generator) -> bytes:
    """A picture that ends where the digit has not ended yet."""
    ink = np.rot90(stroke(digit), turns := int(random.integers(4)))
    first = int(np.flatnonzero(ink.max(1) > 0.5)[0])
    return png(page(np.rot90(ink[first + 40 :], -turns), random))
