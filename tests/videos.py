"""Videos that tests write: of given luma, in any codec, with the tags that cameras and tools write."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

LIMITED, FULL = 1, 2


def video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8] | int],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    rate: int = 10,
    colours: int = LIMITED,
    movflags: str = "",
    size: tuple[int, int] = (64, 96),
) -> Path:
    """Write luma pictures, (h, w) as they are stored; a number is a plain patch. `pts` count thousandths of a second."""
    pictures = [np.full(size, picture, np.uint8) if isinstance(picture, int) else picture for picture in pictures]
    options = {"crf": "1", "bf": "0"} if codec == "libx264" else {"x265-params": "log-level=none:lossless=1"} if codec == "libx265" else {}
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = pix_fmt
        stream.codec_context.color_range = colours
        if pts:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, picture in enumerate(pictures):
            frame = frame_of(picture, pix_fmt)
            frame.color_range = colours
            frame.pts, frame.time_base = (pts[index], Fraction(1, 1000)) if pts else (index, Fraction(1, rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frame_of(luma: NDArray[np.uint8], pix_fmt: str) -> av.VideoFrame:
    """A frame with this luma and no colour, 8 or 10 bits deep."""
    deep = "10" in pix_fmt
    frame = av.VideoFrame(luma.shape[1], luma.shape[0], pix_fmt)
    for number, plane in enumerate(frame.planes):
        rows = np.full((plane.height, plane.line_size // (1 + deep)), 512 if deep else 128, np.uint16 if deep else np.uint8)
        if number == 0:
            rows[:, : luma.shape[1]] = luma.astype(rows.dtype) * (4 if deep else 1)
        plane.update(rows.tobytes())
    return frame


def quadrants() -> NDArray[np.uint8]:
    """A picture whose corners tell its orientation: top left white, top right light, bottom right dark, bottom left black."""
    return np.kron(np.array([[220, 160], [40, 100]], np.uint8), np.ones((32, 48), np.uint8))


def tag(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Put the matrix (a, b, c, d) into the video's track header, as phones do."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # after version, times, layer and volume: {a, b, u, c, d, v, x, y, w}, 16.16 and 2.30
    assert struct.unpack_from(">9i", content, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path
