"""Read a part of a video."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vfer.errors import ClipError
from vfer.video import decode
from vfer.video.decode import Frame, Video

EVERY_FRAME = 1000.0  # frames a second that no video reaches


@dataclass(frozen=True)
class Span:
    """The part of a video that is looked at, in seconds; to its end where `end` is None."""

    start: float = 0.0
    end: float | None = None


WHOLE = Span()


def probe(video: Path) -> Video:
    """Return what a video is.

    Raises:
        ClipError: If it cannot be decoded, or is a picture.
    """
    about = decode.probe(video)
    if about.still:
        raise ClipError(f"{video}: is a picture; give a video")
    return about


def frames(video: Path, span: Span, max_side: int, fps: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a part of a video, all or about `fps` a second, upright and grey.

    Raises:
        ClipError: If the video cannot be decoded or has no frame there.
    """
    empty = True
    for frame in decode.frames(video, fps, max_side, start=span.start, end=span.end):
        empty = False
        yield frame
    if empty:
        raise ClipError(f"{video}: has no frame from {span.start:g} s on; lower --start")


def fps(video: Path, every: int | None) -> float | None:
    """Return the frames a second that one frame in `every` makes; None if `every` is."""
    if every is None:
        return None
    return EVERY_FRAME if every == 1 else decode.probe(video).rate / every
