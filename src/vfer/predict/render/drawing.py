"""Draw on the frames of a film: boxes, names in any script, and curves; and blur faces."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/System/Library/Fonts", "/Library/Fonts")
WIDE = ("cjk", "unifont", "wqy", "droidsansfallback", "nanum", "ipag", "takao", "hiragino", "pingfang", "arial unicode", "noto")
"""Parts of the names of fonts that have letters which the first one lacks, in the order in which they are tried."""
CELLS = 6  # of a blurred face, across
FADE = 0.45  # how much of the picture is seen through a panel


def rgb(colour: str) -> Colour:
    """Return the colour that `#rrggbb` names."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def box(picture: Picture, corners: NDArray[np.float32], colour: Colour, width: int) -> None:
    """Draw a box."""
    x0, y0, x1, y1 = (round(float(value)) for value in corners)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, width, cv2.LINE_AA)


def label(picture: Picture, text: str, place: tuple[int, int], size: int, ink: Colour, ground: Colour) -> None:
    """Write text on a coloured ground, its lower left corner at a place (x, y), moved to where it fits into the picture."""
    mask = _text(text, size)
    height, width = mask.shape
    x = min(max(place[0], 0), max(picture.shape[1] - width, 0))
    y = min(max(place[1] - height, 0), max(picture.shape[0] - height, 0))
    part = picture[y : y + height, x : x + width]
    cover = mask[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = (cover * np.array(ink, np.float32) + (1 - cover) * np.array(ground, np.float32)).astype(np.uint8)


def panel(picture: Picture, corners: tuple[int, int, int, int]) -> None:
    """Darken a part of the picture, (x0, y0, x1, y1), to draw on."""
    x0, y0, x1, y1 = corners
    part = picture[y0:y1, x0:x1]
    part[:] = (part * FADE).astype(np.uint8)


def curve(picture: Picture, points: Sequence[tuple[float, float]], colour: Colour, width: int) -> None:
    """Draw a line through points (x, y)."""
    if len(points) > 1:
        cv2.polylines(picture, [np.array(np.round(points), np.int32)], False, colour, width, cv2.LINE_AA)


def blur(picture: Picture, corners: NDArray[np.float32], margin: float) -> None:
    """Replace a face, and a margin of that share of its size around it, by a few cells of its mean colours."""
    x0, y0, x1, y1 = (float(value) for value in corners)
    across, down = margin * (x1 - x0), margin * (y1 - y0)
    left, top = max(int(x0 - across), 0), max(int(y0 - down), 0)
    right, bottom = min(int(np.ceil(x1 + across)), picture.shape[1]), min(int(np.ceil(y1 + down)), picture.shape[0])
    if right <= left or bottom <= top:
        return
    part = picture[top:bottom, left:right]
    cells = cv2.resize(part, (min(CELLS, right - left), min(CELLS, bottom - top)), interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)


@cache
def _text(text: str, size: int) -> NDArray[np.uint8]:
    """Return how much of each pixel a text covers, 0 to 255, with a little room around."""
    from PIL import Image, ImageDraw

    font = _font(text, size)
    room = max(2, size // 4)
    _, _, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right) + 2 * room, max(int(bottom), size) + room))
    ImageDraw.Draw(image).text((room, room // 2), text, fill=255, font=font)
    return np.asarray(image, np.uint8)


def _font(text: str, size: int) -> "FreeTypeFont":
    """Return the first font that has all letters of a text; the first of all where none has."""
    from PIL import ImageFont

    fonts = (ImageFont.truetype(str(path), size) for path in _paths(text.isascii()))
    first = next(fonts)
    if _has(first, text):
        return first
    return next((font for font in fonts if _has(font, text)), first)


@cache
def _paths(ascii_only: bool) -> list[Path]:
    spec = importlib.util.find_spec("matplotlib")  # it carries DejaVu Sans, and need not be imported
    assert spec is not None
    assert spec.origin is not None
    bundled = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    if ascii_only:
        return [bundled]
    installed = [path for folder in FONTS for path in sorted(Path(folder).expanduser().rglob("*.[to]t[fc]"))]
    ranked = [(rank, path) for rank, part in enumerate(WIDE) for path in installed if part in path.name.lower()]
    return [bundled, *dict.fromkeys(path for _, path in sorted(ranked, key=lambda one: (one[0], str(one[1]))))]


def _has(font: "FreeTypeFont", text: str) -> bool:
    missing = bytes(font.getmask("\U0010ffff"))
    return all(bytes(font.getmask(letter)) != missing for letter in text if not letter.isspace())
