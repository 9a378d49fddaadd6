"""Finds the digit among the pieces of ink: no frame, no line of the paper, no strip, no dust.

A piece is a connected set of pixels. Those that touch the edge of the picture are left out, those
that run around other pieces, straight lines across the picture, and specks.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

# Of the contrast of the ink: thresholds for its pieces. The lowest one that serves is taken: at the
# others faint strokes fall apart, at the lowest lines of the paper join all.
_THRESHOLDS = (0.25, 0.4, 0.55, 0.7)
_STRONG = 0.5
# Beside it a digit of less strong ink than this share is none, but what a threshold left of one.
_SERVES = 0.2
# A row or column that is covered so much at the edge of the picture is a strip or a frame.
_COVERED = 0.85
# A straight line of so much of the picture's width or height belongs to the paper.
_LINE = 0.6
# In sides of the picture: what is smaller is dust, and what touches its edge for longer is a shadow
# or a table; small gaps in a stroke are closed.
_DUST, _ALONG, _CLOSED = 0.03, 0.5, 0.01
# A piece off the edge that is small in the picture, and has a fourth of the ink of one at the edge,
# is not the digit.
_SMALL, _LITTLE = 0.15, 0.25
# A piece that has so much of another one's extent in a hole of that one is what this one frames.
_FRAMED = 0.15
# In sides of the digit: pieces smaller than this are specks; pieces nearer than this belong to it.
_SPECK, _NEAR = 0.08, 0.15
# A piece with so much of the digit's extent and ink is a large one.
_LARGE = (0.4, 0.25)


# A pixel touches all eight around it.
_AROUND = np.ones((3, 3))

Box = tuple[slice, slice]


class Digit(NamedTuple):
    """Where a digit is.

    Attributes:
        mask: bool [h, w], whether a pixel belongs to it.
        mass: its pixels of strong ink.
        parts: how many large parts the ink of the picture has.
        is_cut: whether it touches the edge of the picture.
    """

    mask: np.ndarray
    mass: int
    parts: int
    is_cut: bool


def find(contrast: np.ndarray, level: float) -> Digit | None:
    """The digit in a picture, or None where there is no ink.

    Args:
        contrast: as `paper.contrast`.
        level: as `paper.level`.
    """
    found = [_find(contrast, share * level, _STRONG * level) for share in _THRESHOLDS]
    digits = [digit for digit in found if digit is not None]
    if not digits:
        return None
    inner = [digit for digit in digits if not digit.is_cut]
    most = max(digit.mass for digit in digits)
    served = [digit for digit in inner or digits if digit.mass > _SERVES * most]
    return (served or digits)[0]


class _Piece(NamedTuple):
    """A connected set of pixels: `contact` of them lie at the edge, `mass` are strong ink."""

    number: int
    box: Box
    mass: int
    contact: int

    @property
    def extent(self) -> int:
        """The longer side of its box."""
        return max(s.stop - s.start for s in self.box)


def _find(contrast: np.ndarray, weak: float, strong: float) -> Digit | None:
    """The digit at one threshold."""
    mask, sure = contrast > weak, contrast > strong
    mask &= sure | ~_lines(mask)
    inside = _without_strips(mask)
    mask, sure = mask[inside], sure[inside]
    labels, found = _pieces(mask, sure)
    candidates = _inner(labels, found)
    takes_cut = not candidates
    cut = [piece for piece in found if 0 < piece.contact < _ALONG * min(mask.shape)]
    if candidates and cut:
        one, other = (max(group, key=lambda piece: piece.mass) for group in (candidates, cut))
        is_small = one.extent < _SMALL * min(mask.shape)
        takes_cut = is_small and one.mass < _LITTLE * other.mass
    if takes_cut:
        candidates = cut or found
    if not candidates:
        return None
    chosen, parts = _together(candidates)
    is_cut = any(piece.contact for piece in chosen)
    whole = np.zeros(contrast.shape, bool)
    whole[inside] = np.isin(labels, [piece.number for piece in chosen])
    return Digit(whole, sum(piece.mass for piece in chosen), parts, is_cut)


def _inner(labels: np.ndarray, found: list[_Piece]) -> list[_Piece]:
    """The pieces off the edge that are no dust and no frame."""
    inner = [piece for piece in found if not piece.contact]
    dust = _DUST * min(labels.shape)
    return [p for p in inner if p.extent > dust and not _surrounds(labels, p, inner)]


def _pieces(mask: np.ndarray, sure: np.ndarray) -> tuple[np.ndarray, list[_Piece]]:
    """A label for each pixel, and the pieces; small gaps are closed, but none to the edge's."""
    everything, count = ndimage.label(mask, _AROUND)
    off_edge = mask & (_contact(everything, count) == 0)[everything]
    gap = round(_CLOSED * min(mask.shape))
    joined = ndimage.binary_dilation(off_edge, iterations=gap) if gap else off_edge
    inner, first = ndimage.label(joined, _AROUND)
    labels = np.where(off_edge, inner, np.where(mask, everything + first, 0))
    count += first
    contact = _contact(labels, count)
    masses = np.bincount(labels[sure & mask], minlength=count + 1)
    return labels, [
        _Piece(number, box, int(masses[number]), int(contact[number]))
        for number, box in enumerate(ndimage.find_objects(labels), 1)
        if box is not None and masses[number]
    ]


def _contact(labels: np.ndarray, count: int) -> np.ndarray:
    """How many pixels of each label lie at the edge of the picture, int [count + 1]."""
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    return np.bincount(edge, minlength=count + 1)


def _lines(mask: np.ndarray) -> np.ndarray:
    """Pixels on straight lines, level or upright, across most of the picture."""
    found = np.zeros_like(mask)
    for axis, n in enumerate(mask.shape):
        size = [1, 1]
        size[axis] = max(3, int(_LINE * n)) | 1
        run = ndimage.minimum_filter(mask.view(np.uint8), size, mode="constant")
        found |= ndimage.maximum_filter(run, size, mode="constant").astype(bool)
    return found


def _without_strips(mask: np.ndarray) -> Box:
    """The picture without rows and columns at its edges that are nearly all ink."""
    rows, columns = mask.mean(1), mask.mean(0)
    return (
        slice(_strip(rows), len(rows) - _strip(rows[::-1])),
        slice(_strip(columns), len(columns) - _strip(columns[::-1])),
    )


def _strip(covered: np.ndarray) -> int:
    """How many of the first rows or columns belong to a strip, of which share each is covered."""
    deep = int(np.argmin([*(covered[: len(covered) // 5] > _COVERED), False]))
    end = 2 * deep + 2 if deep else 0  # its inner side is ragged
    while deep < end and covered[deep] > covered[deep + 1]:
        deep += 1
    return deep


def _surrounds(labels: np.ndarray, piece: _Piece, others: list[_Piece]) -> bool:
    """Whether another piece of some size lies in a hole of this one: a frame, or a ring."""
    inside = [
        other
        for other in others
        if other.extent > _FRAMED * piece.extent and _is_within(other.box, piece.box)
    ]
    if not inside:
        return False
    # A pixel may be missing of a thin line that is not quite level.
    own = ndimage.binary_dilation(np.pad(labels[piece.box] == piece.number, 3), iterations=2)
    filled = ndimage.binary_fill_holes(own)[3:-3, 3:-3]
    return any(filled[labels[piece.box] == other.number].all() for other in inside)


def _is_within(one: Box, other: Box) -> bool:
    return all(b.start < a.start and a.stop < b.stop for a, b in zip(one, other, strict=True))


def _together(pieces: list[_Piece]) -> tuple[list[_Piece], int]:
    """The largest piece with those that belong to it, and how many large parts there are."""
    main = max(pieces, key=lambda piece: piece.mass)
    chosen, box = [main], main.box
    rest = [p for p in pieces if p is not main and p.extent > _SPECK * main.extent]
    while near := [p for p in rest if _gap(p.box, box) < _NEAR * main.extent]:
        chosen += near
        rest = [p for p in rest if p not in near]
        for piece in near:
            box = _around(box, piece.box)
    extent, mass = _LARGE
    large = [p for p in pieces if p.extent > extent * main.extent and p.mass > mass * main.mass]
    return chosen, len(large)


def _gap(one: Box, other: Box) -> int:
    """Between two boxes, along the axis on which they are farther apart; 0 where they meet."""
    return max(
        0, *(max(a.start, b.start) - min(a.stop, b.stop) for a, b in zip(one, other, strict=True))
    )


def _around(one: Box, other: Box) -> Box:
    """The smallest box that both lie in."""
    down, across = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return down, across
