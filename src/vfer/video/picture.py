"""Convert decoded frames into pictures as people see them: upright, with square pixels, progressive, and of standard dynamic range."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)
LUMA_FIRST = ("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "gray")
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
EXPAND = np.clip((np.arange(256) - 16) * 255 / 219 + 0.5, 0, 255).astype(np.uint8)
LINEAR, PQ, HLG = 8, 16, 18  # AVColorTransferCharacteristic
WHITE, PEAK = 203, 1000  # cd/m2: reference white in HDR, and a reference display's peak (ITU-R BT.2408)
KNEE = 0.8  # share of reference white above which highlights are compressed
GAMMA = 2.4  # of a standard display (ITU-R BT.1886)
BOTTOM_FIRST = (3, 5)  # AVFieldOrder: bottom field shown first
IGNORED = {
    "STEREO3D": "several views in one picture are not told apart",
    "SPHERICAL": "a spherical projection is not flattened",
    "DOVI_METADATA": "Dolby Vision is shown without its metadata",
}


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes upright: rows and columns are exchanged first, then it is mirrored left-right and top-bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False
    skewed: bool = False  # the matrix asks for more than that, which is ignored

    def apply(self, picture: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return a view of a picture, (h, w) or (h, w, c), that is upright."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flip else 1, :: -1 if self.mirror else 1]


UPRIGHT = Orientation()


def orientation(frame: VideoFrame) -> Orientation:
    """Return what a frame's display matrix asks for, in quarter turns and mirror images.

    The matrix shows the pixel (x, y) at (ax + cy, bx + dy), y downwards (ISO 14496-12).
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = np.frombuffer(memoryview(data), np.int32).tolist()  # type: ignore[arg-type]
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    right, down, rest = (c, b, (a, d)) if transpose else (a, d, (b, c))
    return Orientation(transpose, right < 0, down < 0, max(map(abs, rest)) > max(abs(right), abs(down)) / 50)


def grey(frame: VideoFrame, aspect: Fraction, max_side: int | None, field_order: int = 0) -> Grey:
    """Return a frame's luma as it is shown.

    Args:
        frame: A decoded frame.
        aspect: Width of a stored pixel as a multiple of its height.
        max_side: Most pixels of the longer side; a smaller picture is not enlarged. None: any size.
        field_order: FFmpeg's number of the order of an interlaced stream's fields.

    Returns:
        Grey pixels, uint8 (h, w), of full range, contiguous.
    """
    if frame.color_trc in (LINEAR, PQ, HLG):
        deep = _converted(frame, "gray16le")
        luma, limited = _curve(frame.color_trc)[deep], False
    else:
        luma, limited = _luma(frame)
    if frame.interlaced_frame:
        luma = deinterlaced(luma, bottom=field_order in BOTTOM_FIRST)
    resized = scaled(luma, aspect, max_side)
    if limited:  # after shrinking, when there is less to expand
        resized = cv2.LUT(resized, EXPAND)  # type: ignore[assignment]
    elif resized is luma:
        resized = luma.copy()  # the decoder's memory is used again
    return np.ascontiguousarray(orientation(frame).apply(resized))


def colour(frame: VideoFrame, aspect: Fraction, max_side: int | None, field_order: int = 0) -> Grey:
    """Return a frame in colour as `grey` returns its luma: RGB, uint8 (h, w, 3)."""
    rgb = _curve(frame.color_trc)[_converted(frame, "rgb48le")] if frame.color_trc in (LINEAR, PQ, HLG) else _converted(frame, "rgb24")
    if frame.interlaced_frame:
        rgb = deinterlaced(rgb, bottom=field_order in BOTTOM_FIRST)
    return np.ascontiguousarray(orientation(frame).apply(scaled(rgb, aspect, max_side)))


def notes(frame: VideoFrame) -> list[str]:
    """Return what of a frame is not honoured, one phrase each."""
    lacking = [phrase for name, phrase in IGNORED.items() if frame.side_data.get(name) is not None]
    if orientation(frame).skewed:
        lacking.append("a turn by less than a quarter is ignored")
    if frame.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")):
        lacking.append("transparency is ignored")
    return lacking


def _luma(frame: VideoFrame) -> tuple[Grey, bool]:
    """Return a view of a decoded frame's luma, or a grey copy, and whether its range is limited to 16 to 235."""
    name = frame.format.name
    if name not in LUMA_FIRST:
        return _converted(frame, "gray"), False
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return luma, not (name == "gray" or name.startswith("yuvj") or frame.color_range == FULL_RANGE)


def _converted(frame: VideoFrame, name: str) -> "NDArray[Any]":
    """Return a frame in another pixel format, of full range; on one thread, since FFmpeg's slices spoil pixels of odd widths at random."""
    return frame.to_ndarray(format=name, threads=1)


def deinterlaced(picture: Grey, *, bottom: bool) -> Grey:
    """Return the picture, (h, w) or (h, w, c), of the field that is shown first; the mean of two of its lines is put between them."""
    start = int(bottom)
    field = picture[start::2]
    if len(field) < 2:
        return picture
    whole = np.empty_like(picture)
    whole[start::2] = field
    between = ((field[:-1].astype(np.uint16) + field[1:] + 1) // 2).astype(np.uint8)
    whole[start + 1 :: 2][: len(between)] = between
    whole[0 : 1 + start] = field[0]
    whole[-1] = field[-1]
    return whole


def size_of(width: int, height: int, aspect: Fraction, max_side: int | None) -> tuple[int, int]:
    """Return the width and height of a stored picture with square pixels, before it is turned upright.

    As in players, non-square pixels are stretched and never squeezed.
    """
    across, down = width * max(aspect, Fraction(1)), height / min(aspect, Fraction(1))
    scale = min(Fraction(1), Fraction(max_side) / max(across, down)) if max_side else Fraction(1)
    return max(1, round(across * scale)), max(1, round(down * scale))


def scaled(picture: Grey, aspect: Fraction, max_side: int | None) -> Grey:
    """Return a picture with square pixels, its longer side at most `max_side`; the picture itself where it is so."""
    height, width = picture.shape[:2]
    size = size_of(width, height, aspect, max_side)
    if size == (width, height):
        return picture
    way = cv2.INTER_AREA if size[0] <= width and size[1] <= height else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=way)  # type: ignore[return-value]


def fit(picture: Grey, shape: tuple[int, int]) -> Grey:
    """Return a picture in a frame of another shape, (h, w): as large as it fits, in the middle, black around it."""
    ratio = min(shape[0] / picture.shape[0], shape[1] / picture.shape[1])
    height, width = (min(most, max(1, round(side * ratio))) for most, side in zip(shape, picture.shape, strict=False))
    whole = np.zeros((*shape, *picture.shape[2:]), np.uint8)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    way = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    whole[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=way)
    return whole


@cache
def _curve(transfer: int) -> Grey:
    """Return what a standard display shows of each 16-bit signal of a high dynamic range, uint8 (65536,).

    Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG, with its display's gamma), ITU-R BT.2408 (reference white), ITU-R BT.1886.
    """
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        power = signal ** (32 / 2523)
        light = 10000 * (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305)
    elif transfer == HLG:
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        light = PEAK * np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12) ** 1.2
    else:
        light = WHITE * signal
    linear = light / WHITE
    excess = np.maximum(linear - KNEE, 0) / (1 - KNEE)
    linear = np.where(linear > KNEE, KNEE + (1 - KNEE) * excess / (1 + excess), linear)
    return np.asarray(255 * linear ** (1 / GAMMA) + 0.5, np.float64).astype(np.uint8)
