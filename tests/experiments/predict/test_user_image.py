"""Any picture of a digit becomes an image like those of MNIST, or one line of what is wrong."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from experiments.config.cli import UserError
from experiments.data.sample_digits import draw
from experiments.predict import user_image
from experiments.predict.user_image import load, normalize

# None whose centre of mass is midway between two pixels, where a grey level moves it by one.
DIGITS = draw(40, stream=5)[0][1:10]
# A digit of the sample, large, as if drawn on a white sheet: 448 x 448.
SHEET = 255 - np.kron(DIGITS[0], np.ones((16, 16), np.uint8))


def far(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("digit", range(9))
def test_the_result_is_made_like_mnist(digit) -> None:
    image = normalize(DIGITS[digit])
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    rows, columns = np.flatnonzero(image.max(1)), np.flatnonzero(image.max(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    mass = image / image.sum()
    assert abs((mass.sum(1) * np.arange(28)).sum() - 14) <= 0.51
    assert abs((mass.sum(0) * np.arange(28)).sum() - 14) <= 0.51
    # What is made already stays as it is.
    assert far(normalize(image), image) < 1


def test_ground_contrast_size_and_place_do_not_matter() -> None:
    plain = normalize(DIGITS[0])
    large = np.kron(DIGITS[0], np.ones((16, 16), np.uint8))
    placed = np.full((900, 700), 230.0)
    placed[300:748, 200:648] -= large * 0.5
    for other in (255 - DIGITS[0], DIGITS[0] * 0.3 + 20, large, SHEET, placed):
        assert far(normalize(other), plain) < 4


def test_proportions_are_kept() -> None:
    """A bar is no square; and one as thin as a hair still is something."""
    bar = np.zeros((200, 200))
    bar[20:180, 90:110] = 255
    rows, columns = np.nonzero(normalize(bar))
    assert np.ptp(rows) + 1 == 20
    assert 2 <= np.ptp(columns) + 1 <= 4
    hair = np.zeros((2000, 2000))
    hair[100:1900, 1000] = 255
    assert normalize(hair).max() == 255


def with_alpha(ink: int) -> Image.Image:
    pixels = np.full((448, 448, 4), ink, np.uint8)
    pixels[..., 3] = 255 - SHEET
    return Image.fromarray(pixels)


def coloured(paper: tuple[int, int, int], ink: tuple[int, int, int]) -> Image.Image:
    """As light as each other to the eye, or nearly."""
    return Image.composite(
        Image.new("RGB", (448, 448), paper), Image.new("RGB", (448, 448), ink),
        Image.fromarray(SHEET),
    )  # fmt: skip


def spoiled(value: float) -> Image.Image:
    """One pixel of the corner is no grey level."""
    pixels = SHEET.astype(np.float32) / 255
    pixels[0, 0] = value
    return Image.fromarray(pixels)


WAYS = {
    "grey.png": lambda: Image.fromarray(SHEET),
    "colour.png": lambda: Image.fromarray(SHEET).convert("RGB"),
    "colour.jpg": lambda: Image.fromarray(SHEET).convert("RGB"),
    "print.jpg": lambda: Image.fromarray(SHEET).convert("CMYK"),
    "palette.png": lambda: Image.fromarray(SHEET).convert("P"),
    "palette.gif": lambda: Image.fromarray(SHEET),
    "plain.bmp": lambda: Image.fromarray(SHEET),
    "deep.png": lambda: Image.fromarray(SHEET.astype(np.uint16) * 100),
    "float.tiff": lambda: Image.fromarray(SHEET.astype(np.float32) / 255),
    "black on nothing.png": lambda: with_alpha(0),
    "white on nothing.png": lambda: with_alpha(255),
    "green on red.png": lambda: coloured((255, 0, 0), (0, 128, 0)),
    "yellow on white.png": lambda: coloured((255, 255, 255), (255, 255, 0)),
    "not a number.tiff": lambda: spoiled(np.nan),
    "infinite.tiff": lambda: spoiled(np.inf),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_keep_a_picture(tmp_path, name) -> None:
    WAYS[name]().save(tmp_path / name)
    assert far(load(str(tmp_path / name)), normalize(DIGITS[0])) < 4


def test_of_several_pictures_in_a_file_the_first_is_read(tmp_path) -> None:
    said: list[str] = []
    path = str(tmp_path / "moving.gif")
    Image.fromarray(SHEET).save(path, save_all=True, append_images=[Image.fromarray(255 - SHEET)])
    assert far(load(path, said.append), normalize(DIGITS[0])) < 4
    assert said == [f"{path} holds 2 pictures; the first is read"]


def test_a_tiny_digit_is_said_to_be_so() -> None:
    said: list[str] = []
    page = np.zeros((200, 200))
    page[90:118, 90:118] = DIGITS[0]
    assert far(normalize(page, "it", said.append), normalize(DIGITS[0])) < 12
    assert said == []
    page[90:118, 90:118] = 0
    page[90:104, 90:104] = DIGITS[0].reshape(14, 2, 14, 2).mean((1, 3))
    normalize(page, "it", said.append)
    assert said == ["what was read of it is tiny; draw it larger, or cut the picture around it"]


def test_a_lone_speck_does_not_touch_the_edge() -> None:
    said: list[str] = []
    page = np.zeros((1000, 1000))
    page[500:528, 500:528] = DIGITS[0]
    normalize(page, "it", said.append)
    assert said == []


@pytest.mark.parametrize("grain", [4, 15, 60])
def test_paper_without_a_digit_is_doubted(grain) -> None:
    said: list[str] = []
    grey = 190 + grain * np.random.default_rng(0).normal(size=(400, 300))
    normalize(grey.clip(0, 255), "it", said.append)
    assert said[0] == ("it has hardly more than the grain of its paper; is there a digit on it?")


def test_a_camera_held_upright(tmp_path) -> None:
    """The EXIF orientation 6 says: turn by a quarter to the right when showing."""
    image = Image.fromarray(SHEET).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert far(load(str(tmp_path / "turned.jpg")), normalize(DIGITS[0])) < 4


def test_from_standard_input(monkeypatch) -> None:
    content = io.BytesIO()
    Image.fromarray(SHEET).save(content, "PNG")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.getvalue())))
    assert far(load(None), normalize(DIGITS[0])) < 4


def png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(SHEET).save(content, "PNG")
    return content.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be this large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return png()[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + (
        png()[33:]
    )  # fmt: skip


def texts() -> bytes:
    """A PNG with a comment that unpacks to 100 MB."""
    info, content = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("comment", "a" * 100_000_000, zip=True)
    Image.fromarray(SHEET).save(content, "PNG", pnginfo=info)
    return content.getvalue()


def saved(grey: int, mode: str = "L") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (50, 50), grey if mode == "L" else (grey,) * 3 + (0,)).save(content, "PNG")
    return content.getvalue()


BAD = {
    "text": (lambda: b"a seven", "is no picture"),
    "cut": (lambda: png()[:-200], "is a damaged picture"),
    "flipped": (lambda: png()[:300] + b"\xff\0\xff" + png()[303:], "is a damaged picture"),
    "head": (lambda: png()[:20], "is a damaged picture|is no picture"),
    "empty": (lambda: b"", "is empty"),
    "white": (lambda: saved(255), "is blank"),
    "black": (lambda: saved(0), "is blank"),
    "nothing": (lambda: saved(0, "RGBA"), "is blank"),
    "bomb": (lambda: bomb(50_000, 50_000), "has more than 50,000,000 pixels"),
    "large": (lambda: bomb(8_000, 8_000), "has more than 50,000,000 pixels"),
    "comment": (texts, "is a damaged picture"),
    "script": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line_that_names_the_file(tmp_path, name) -> None:
    make, message = BAD[name]
    path = tmp_path / f"{name}.png"
    path.write_bytes(make())
    with pytest.raises(UserError, match=message) as caught:
        load(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"seven\.png cannot be read: No such file"):
        load(str(tmp_path / "seven.png"))
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load(str(tmp_path))
    with pytest.raises(UserError, match="cannot be read"):
        load("seven\0.png")
    monkeypatch.setattr(user_image, "MOST_BYTES", 10)
    (tmp_path / "long.png").write_bytes(png())
    with pytest.raises(UserError, match="more than 10 bytes"):
        load(str(tmp_path / "long.png"))
