"""Check a clip before it is added, and encode picture sequences as lossless clips."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.errors import ClipError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = 10.0  # frames a second of a picture sequence: sampling at 10 fps keeps every picture


def probe(path: Path) -> None:
    """Check that a file is a video whose first frame decodes; raises `ClipError`, without the path, where it is not."""
    from vfer.video import decode

    try:
        about = decode.probe(path)
    except ClipError as error:
        raise ClipError(str(error).removeprefix(f"{path}: ")) from error
    if about.still:
        raise ClipError("is a picture; give a video")


def encode(path: Path, frames: "Iterable[NDArray[np.uint8]]", rate: float = RATE) -> None:
    """Write grey frames, (height, width) uint8, as FFV1 in Matroska: lossless, and the same bytes every time."""
    import av

    following = iter(frames)
    first = next(following)
    with av.open(str(path), "w", format="matroska", options={"fflags": "bitexact"}) as container:
        # Thread and slice counts are set because both are part of the bytes.
        options = {"flags": "bitexact", "threads": "1", "level": "3", "slices": "4"}
        stream = container.add_stream("ffv1", rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = first.shape
        stream.pix_fmt = "gray"
        for index, pixels in enumerate(chain([first], following)):
            frame = av.VideoFrame.from_ndarray(pixels, format="gray")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
