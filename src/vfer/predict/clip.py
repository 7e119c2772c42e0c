"""Process one clip exactly as the stages do: sample it, store it as JPEG, follow one face, and embed it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.manifest import Framing
from vfer.errors import ClipError
from vfer.faces import table
from vfer.faces.clip import Picture, find
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.features import cache
from vfer.features.embed import embed
from vfer.nets.session import Session
from vfer.predict import quality, source
from vfer.predict.prediction import LONG, SHOTS
from vfer.predict.source import Span
from vfer.predict.timeline import shots
from vfer.video import decode, jpeg
from vfer.video.frames import FramesParams

NEARLY = 0.5  # a second face of this share of the largest one's width could have been meant


@dataclass(frozen=True)
class Limits:
    """What a video must be: `fewest` sampled frames at least, and, where only a clip will do, one shot of `longest` seconds at most."""

    fewest: int
    longest: float | None = None


@dataclass(frozen=True)
class ClipContent:
    """What a clip shows: its frames, the share of the searched ones with several faces, and the flags of `quality`."""

    sequence: cache.Sequence
    crowded: float
    flags: tuple[str, ...]


class NoClipError(ClipError):
    """A video that is not a clip, but a film to be looked at through time; `flag` says why."""

    def __init__(self, message: str, flag: str) -> None:
        super().__init__(message)
        self.flag = flag


class _Crowd:
    """A detector that counts in how many pictures it finds a second face of a like size."""

    def __init__(self, detector: Detector, score: float) -> None:
        self.name, self.sha256 = detector.name, detector.sha256
        self._detector, self._score = detector, score
        self._searched = self._crowded = 0

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        boxes = self._detector(grey, score)
        sure = boxes[boxes[:, 4] >= self._score]
        widths = np.sort(sure[:, 2] - sure[:, 0])
        self._searched += 1
        self._crowded += len(widths) > 1 and bool(widths[-2] >= NEARLY * widths[-1])
        return boxes

    @property
    def share(self) -> float:
        return self._crowded / max(1, self._searched)


def look(
    video: Path, span: Span, framing: Framing, limits: Limits, cnn: Session, detector: Detector, params: tuple[FramesParams, FacesParams]
) -> ClipContent:
    """Look at a clip.

    Raises:
        NoClipError: It is long, or has several shots.
        ClipError: It cannot be used.
    """
    about = source.probe(video) if limits.fewest > 1 else decode.probe(video)
    if limits.longest is not None and min(about.seconds, span.end or about.seconds) - span.start > limits.longest:
        raise _long(video, limits.longest)
    jpegs = _sampled(video, span, limits, params[0])

    def pictures() -> Iterator[Picture]:
        for index, time, picture in jpegs:  # through JPEG, as the stages store them, for the same answer to the last bit
            yield index, time, partial(jpeg.decode, picture)

    height, width = jpeg.decode(jpegs[0][2]).shape
    metadata = {"clip": str(video), "framing": framing, "width": str(width), "height": str(height)}
    crowd = _Crowd(detector, params[1].score)
    faces = find(pictures, metadata, crowd, params[1])
    return ClipContent(embed(cnn, str(video), faces), crowd.share, _flags(faces, about.width / width))


def _flags(faces: table.Faces, scale: float) -> tuple[str, ...]:
    """Return the flags that the median frame raises; `scale` is a stored pixel in source pixels."""
    if not faces.present.any() or "given" in faces.status:
        return ()
    box = faces.box[faces.present]
    size = float(np.median(np.minimum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]))) * scale
    sharp = float(np.median([quality.sharpness(crop) for crop in faces.crop[faces.present]]))
    return quality.flags(size, sharp, None)


def _sampled(video: Path, span: Span, limits: Limits, params: FramesParams) -> list[tuple[int, float, bytes]]:
    jpegs: list[tuple[int, float, bytes]] = []
    small: list[NDArray[np.uint8]] = []
    only_clip = limits.longest is not None
    for frame in source.frames(video, span, params.max_side, params.fps):
        jpegs.append((frame.index, frame.time, jpeg.encode(frame.grey, params.jpeg_quality)))
        if limits.longest is not None and frame.time - jpegs[0][1] > limits.longest:
            raise _long(video, limits.longest)
        small += [shots.small(frame.grey)] if only_clip else []
    if len(jpegs) < limits.fewest:
        raise ClipError(f"{video}: gives {len(jpegs)} frame, fewer than frames.min_frames ({limits.fewest})")
    if only_clip and shots.several(small, params.fps):
        raise NoClipError(f"{video}: shows several shots; use `vfer timeline`", SHOTS)
    return jpegs


def _long(video: Path, longest: float) -> NoClipError:
    return NoClipError(f"{video}: is longer than {longest:g} s; use `vfer timeline`", LONG)
