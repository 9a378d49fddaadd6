"""Makes a user's own picture like an image of MNIST: 28 x 28, white on black, in the middle.

As the makers of MNIST did it (LeCun et al., 1998): the digit is scaled into a box of 20 x 20, its
proportions kept, and placed so that its centre of mass is the centre of the 28 x 28 field. Before
that the picture becomes grey, paper of any light becomes black (`paper`), and what is not the digit
is left out (`pieces`).
"""

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.config.cli import UserError
from experiments.data.images import SIDE

BOX = 20
# A file of some kilobytes can claim to have billions of pixels.
MOST_PIXELS = 50_000_000
MOST_BYTES = 100_000_000
# Only these are tried: Pillow would start other programs for some formats.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")

# Shares of the full contrast: a picture with less is blank, a pixel with less is paper.
_BLANK, _PAPER = 0.1, 0.1
# Strokes get at least so many pixels of the 28.
_THIN = 1.5
# A digit whose longer side has fewer pixels is hard to tell.
_TINY = 18
# Where half of the paper has this share of the contrast of the ink, and a quarter has that, there
# is grain, and perhaps nothing else.
_GRAIN = (0.08, 0.5)
# A channel is taken for the light where it varies so many times more: green on red.
_COLOURED = 3
# Longer sides are first averaged down to about so many pixels; 20 remain in the end.
_SIDE = 1000


def _nobody(line: str) -> None:
    """Hears the notes where nobody else does."""


def load(path: str | None, say: Callable[[str], None] = _nobody) -> np.ndarray:
    """The digit in a file, or in standard input for `-` and None, uint8 [28, 28].

    Args:
        path: of the file.
        say: gets a line for whatever makes the answer doubtful.

    Raises:
        UserError: there is no such file, it is no picture or a damaged, blank or huge one.
    """
    if path == "":
        raise UserError("the picture's name is empty; give a file")
    name = "standard input" if path in (None, "-") else path
    try:
        if path is None or name != path:
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as mistake:  # ValueError: a name with a null character
        reason = getattr(mistake, "strerror", None) or mistake
        raise UserError(f"{name} cannot be read: {reason}") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{name} has more than {MOST_BYTES:,} bytes; give a smaller picture")
    if not content:
        raise UserError(f"{name} is empty; give a picture ({', '.join(FORMATS)})")
    return normalize(_grey(content, name, say), name, say)


def normalize(
    grey: np.ndarray, name: str = "the picture", say: Callable[[str], None] = _nobody
) -> np.ndarray:
    """Grey values [h, w], of any range and ground, as an image of MNIST: uint8 [28, 28].

    Raises:
        UserError: there is nothing on it.
    """
    # Here, for the models need none of it.
    from PIL import Image

    from experiments.predict import paper, pieces

    grey = grey.astype(np.float32) / 255
    digit = None
    if np.ptp(grey) >= _BLANK:
        contrast = paper.contrast(grey)
        digit = pieces.find(contrast, paper.level(contrast))
    if digit is None:
        raise UserError(f"{name} is blank, or far too pale; give a picture of a digit")
    rows, columns = (np.flatnonzero(digit.mask.any(axis)) for axis in (1, 0))
    if max(np.ptp(rows), np.ptp(columns)) < _TINY:
        say(f"what was read of {name} is tiny; draw it larger, or cut the picture around it")
    if _is_grain(contrast, digit.mask):
        say(f"{name} has hardly more than the grain of its paper; is there a digit on it?")
    if digit.parts > 1:
        say(f"the ink of {name} falls into {digit.parts} large parts; is it one digit?")
    if digit.is_cut:
        say(f"the ink touches the edge of {name}; is the whole digit on it?")
    ink = _ink(contrast, digit.mask)
    rows, columns = np.flatnonzero(ink.max(1)), np.flatnonzero(ink.max(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    scale = BOX / max(ink.shape)
    height, width = (max(1, round(scale * side)) for side in ink.shape)
    # Averages over all the area that becomes a pixel, and has no ringing.
    ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.HAMMING))
    ink = ink / ink.max()

    field = np.zeros((SIDE, SIDE), np.float32)
    top, left = (_start(ink.sum(axis)) for axis in (1, 0))
    field[top : top + height, left : left + width] = ink
    return np.rint(field * 255).astype(np.uint8)


def _is_grain(contrast: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the paper differs from itself nearly as much as the ink does."""
    from scipy import ndimage

    around = contrast[~ndimage.binary_dilation(mask, iterations=max(3, len(mask) // 60))]
    if not around.size:
        return False
    half, quarter = np.percentile(around, [50, 75]) / np.median(contrast[mask])
    return bool(half > _GRAIN[0] and quarter > _GRAIN[1])


def _ink(contrast: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values of the digit from 0 to 1, its soft edges included, its strokes not too thin."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    pixel = (max(np.ptp(rows), np.ptp(columns)) + 1) / BOX
    near = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=max(1, round(pixel)))
    ink = np.where(near, contrast, 0)
    full = np.percentile(ink[ink > ink.max() / 2], 90)
    ink = np.minimum(ink / full, 1)
    ink[ink < _PAPER] = 0
    # A line of width w is w / 4 deep in the mean, and half a pixel more from centre to centre.
    inside = ink > 0.5
    width = 4 * float(ndimage.distance_transform_edt(inside)[inside].mean()) - 1
    missing = round(_THIN * pixel - width)
    if missing > 0:
        ink = ndimage.grey_dilation(np.pad(ink, missing), (missing + 1, missing + 1))
    return ink


def _start(mass: np.ndarray) -> int:
    """Where a box begins in the field, so that its centre of mass is at pixel 14, as MNIST's is."""
    centre = (mass * np.arange(len(mass))).sum() / mass.sum()
    return int(np.clip(round(SIDE / 2 - centre), 0, SIDE - len(mass)))


def _grey(content: bytes, name: str, say: Callable[[str], None] = _nobody) -> np.ndarray:
    """The grey values of a file's content, float32 [h, w] from 0 to 255."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns of oddities and of sizes; what matters of these is asked below.
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            image.load()
            image = ImageOps.exif_transpose(image)
            is_deep = image.mode.startswith(("I", "F"))
            if is_deep:
                image = Image.fromarray(_stretched(np.asarray(image, np.float32)))
            else:
                image = image.convert("RGBA")
            image = image.reduce(max(1, max(image.size) // _SIDE))
        except UnidentifiedImageError:
            raise UserError(
                f"{name} is no picture of a kind that is read ({', '.join(FORMATS)})"
            ) from None
        except Image.DecompressionBombError:
            many = f"more than {MOST_PIXELS:,} pixels"
            raise UserError(f"{name} has {many}; give a smaller picture") from None
        # Damage shows as many kinds of exception; the user gets one line.
        except Exception as mistake:
            why = " ".join(str(mistake).split()) or type(mistake).__name__
            raise UserError(f"{name} is a damaged picture: {why}") from None
    if count > 1:
        say(f"{name} holds {count} pictures; the first is read")
    pixels = np.asarray(image, np.float32)
    if is_deep:
        return pixels
    alpha = pixels[..., 3:] / 255
    on_black = pixels[..., :3] * alpha
    on_white = _light(on_black + 255 * (1 - alpha))
    # White ink on nothing shows on black only.
    return _light(on_black) if np.ptp(on_white) < 255 * _BLANK else on_white


def _light(colours: np.ndarray) -> np.ndarray:
    """How light a picture [h, w, 3] is; where its colours alone differ, the one that does most."""
    light = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    channel = int(colours.std((0, 1)).argmax())
    is_coloured = colours[..., channel].std() > _COLOURED * light.std()
    return colours[..., channel] if is_coloured else light


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values of more than 8 bits, from their lowest to their highest as 0 to 255."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.clip(np.nan_to_num(values, nan=low), low, high)
    return (values - low) * np.float32(255 / (high - low) if high > low else 0)
