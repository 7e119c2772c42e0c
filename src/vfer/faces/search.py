"""Search a clip's pictures for faces: detect them in key frames, and follow them in between."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.faces import likeness
from vfer.faces.detector import Detector
from vfer.faces.likeness import SearchedFrame
from vfer.faces.params import FacesParams
from vfer.faces.track import SLACK

FAINT = 0.5  # a face of this share of `score` puts a key frame in doubt; pictures without a face stay far below
APART = 1.0  # seconds between key frames at most, for meanwhile a face may come and go


def search(pictures: Iterable[tuple[int, float, NDArray[np.uint8]]], detector: Detector, params: FacesParams) -> Iterator[SearchedFrame]:
    """Yield the pictures, (frame, seconds, grey), with their faces; it holds `detect_every` of them, and two more.

    Every `detect_every`-th picture, and the last, is a key frame. Where a face between two key frames is in doubt, the picture
    halfway becomes one too, and so on. In doubt are faces that come, go, jump or change their looks, and faces that are
    almost detected; so every cut is between two neighbouring key frames.
    """
    stretch: list[SearchedFrame] = []
    for frame, time, grey in pictures:
        if len(stretch) > params.detect_every or (len(stretch) > 1 and time - stretch[0].time > APART + SLACK):
            yield from _finished(stretch, detector, params.score)
        stretch.append(SearchedFrame(frame, time, grey))
    if stretch:
        yield from _finished(stretch, detector, params.score)
        yield stretch[0]


def _finished(stretch: list[SearchedFrame], detector: Detector, score: float) -> Iterator[SearchedFrame]:
    """Yield a stretch with its faces, and empties it down to its last picture, with which the next one begins."""
    _fill(stretch, detector, score)
    while len(stretch) > 1:
        yield stretch.pop(0)


def _fill(stretch: Sequence[SearchedFrame], detector: Detector, score: float) -> None:
    """Find the faces in a stretch: detects in its first and last picture, follow between, and halves it where that is in doubt."""
    first, last = stretch[0], stretch[-1]
    _detect(first, detector, score)
    _detect(last, detector, score)
    if len(stretch) <= 2:
        return
    between = None if first.doubtful or last.doubtful else likeness.between(stretch)
    if between is None:
        half = len(stretch) // 2
        _fill(stretch[: half + 1], detector, score)
        _fill(stretch[half:], detector, score)
        return
    for frame, boxes in zip(stretch[1:-1], between, strict=True):
        frame.boxes = boxes


def _detect(frame: SearchedFrame, detector: Detector, score: float) -> None:
    if not frame.tracked:
        return
    boxes = detector(frame.grey, FAINT * score)
    frame.boxes = boxes[boxes[:, 4] >= score]
    frame.tracked, frame.doubtful = False, len(frame.boxes) < len(boxes)
