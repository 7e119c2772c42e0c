"""Reads the part of a video that is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vfer.errors import ClipError
from vfer.video import decode, frames
from vfer.video.decode import Frame


@dataclass(frozen=True)
class Span:
    """The part of a video that is looked at, in seconds; to its end where `end` is None."""

    start: float = 0.0
    end: float | None = None


WHOLE = Span()
EVERY_FRAME = 1000.0  # frames a second that no video reaches


def rate(video: Path) -> float:
    """Returns a video's frames a second, by its header; raises `ClipError` where it is no video."""
    return decode.probe(video).rate


def sampled(video: Path, fps: float, max_side: int, span: Span = WHOLE) -> Iterator[Frame]:
    """Yields about `fps` frames a second of a part of a video, upright and grey; raises `ClipError` where it cannot be decoded."""
    empty = True
    for frame in frames.sample(video, fps, max_side):
        if span.end is not None and frame.time >= span.end:
            break
        if frame.time >= span.start:
            empty = False
            yield frame
    if empty:
        raise ClipError(f"{video}: has no frame from {span.start:g} s on; lower --start")
