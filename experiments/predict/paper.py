"""Tells ink from paper in a grey picture, in whatever light it was taken.

The paper is estimated around each pixel by a morphological closing, which keeps shading, shadows
and all that is wider than a stroke; ink is what is darker than its paper.
"""

import numpy as np
from scipy import ndimage

# A side of the window for the paper, of the picture's shorter side: wider than any stroke.
_WINDOW = 0.33
# Ink is compared with a paper of at least this share of the brightest: less is noise in the dark.
_DARKEST = 0.2
# The ground is looked for in so many pixels a side, and near edges of so much of the highest.
_SMALL, _PLAIN = 64, 0.5
# Between these shares of light pixels, the edge of the picture decides what is ground.
_UNSURE = (0.4, 0.6)


def contrast(grey: np.ndarray) -> np.ndarray:
    """How much a pixel differs from the paper around it, towards the ink: float32 [h, w] from 0.

    Args:
        grey: float32 [h, w] from 0 to 1, of any ground.
    """
    is_light = _has_light_ground(grey)
    soft = ndimage.gaussian_filter(grey if is_light else 1 - grey, min(grey.shape) / 400)
    window = max(3, round(_WINDOW * min(grey.shape)))
    paper = ndimage.grey_closing(soft, (window, window), mode="nearest")
    found = paper - soft
    if is_light:
        # Ink sends back a share of the light that falls on it.
        found /= np.maximum(paper, max(_DARKEST * float(paper.max()), 1e-3))
    # The closing is the upper side of the paper's grain; most pixels are paper.
    return np.maximum(found - np.median(found), 0)


def level(found: np.ndarray) -> float:
    """The contrast of the ink: the mean of what stands out, weighted with itself; 0 for none."""
    out = found[found > 0.1 * found.max()]
    return float((out**2).sum() / out.sum()) if out.size else 0.0


def _has_light_ground(grey: np.ndarray) -> bool:
    """Whether there is more light than dark where both are near, and more so in the middle."""
    small = _small(grey)
    window = max(3, round(_WINDOW * min(small.shape)))
    low = ndimage.minimum_filter(small, window, mode="nearest")
    high = ndimage.maximum_filter(small, window, mode="nearest")
    is_light = small - low > (high - low) / 2
    both = high - low > (high - low).max() / 2
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1 for n in small.shape)
    inward = np.minimum(rows[:, None], columns) * both
    share = (np.average(is_light, weights=both) + np.average(is_light, weights=inward)) / 2

    edge = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    around = float((edge > (small.min() + small.max()) / 2).mean())
    # An edge that is all alike may be a frame or a table around the sheet.
    alike = not 0.03 < around < 0.97
    return bool(share - 0.5 + (0.02 if alike else 0.5) * (around - 0.5) > 0)


def _small(grey: np.ndarray) -> np.ndarray:
    """Means over squares, so that the longer side has about as many pixels as are looked at."""
    step = max(1, max(grey.shape) // _SMALL)
    h, w = (max(1, n // step) for n in grey.shape)
    whole = grey[: h * step, : w * step]
    return whole.reshape(h, whole.shape[0] // h, w, whole.shape[1] // w).mean((1, 3))
