"""Follow faces between two key frames by their appearance, or report that they are in doubt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfer.faces.track import OVERLAP, iou

SIDE = 24  # pixels of a face when looks are compared
REACH = 6  # pixels beside it in which it is looked for
LIKE = 0.8  # least correlation with the more alike of the two detected faces
FAINTLY_LIKE = 0.5  # and with the other one


@dataclass
class SearchedFrame:
    """A picture, (h, w) uint8, with its frame and seconds, and the faces in it, (n, 5) float32, whose score is NaN where tracked."""

    frame: int
    time: float
    grey: NDArray[np.uint8]
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 5), np.float32))
    tracked: bool = True
    doubtful: bool = False


def between(stretch: Sequence[SearchedFrame]) -> list[NDArray[np.float32]] | None:
    """Return the boxes, (n, 5) with NaN for the score, in the pictures between the first and the last; none if any is in doubt.

    Each face goes evenly from its first box to its last; where its looks are found nearby instead, it goes there.
    """
    first, last = stretch[0], stretch[-1]
    order = _pairs(first.boxes, last.boxes)
    if order is None:
        return None
    ends = last.boxes[order]
    looks = [(_look(first.grey, start), _look(last.grey, end)) for start, end in zip(first.boxes, ends, strict=True)]
    between_boxes = []
    for frame in stretch[1:-1]:
        part = (frame.time - first.time) / (last.time - first.time)
        boxes = ((1 - part) * first.boxes + part * ends).astype(np.float32)
        boxes[:, 4] = np.nan
        for box, (before, after) in zip(boxes, looks, strict=True):
            shift = _shift(frame.grey, box, before, after, part)
            if shift is None:
                return None
            box[:4] += shift
        between_boxes.append(boxes)
    return between_boxes


def _pairs(first: NDArray[np.float32], last: NDArray[np.float32]) -> NDArray[np.intp] | None:
    """Return which of the last boxes each first one became; none if that is not one to one."""
    if len(first) != len(last):
        return None
    if not len(first):
        return np.empty(0, np.intp)
    overlaps = iou(first, last)
    order = overlaps.argmax(axis=1)
    return order if len(set(order.tolist())) == len(order) and overlaps.max(axis=1).min() >= OVERLAP else None


def _look(grey: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(_window(grey, box)[REACH:-REACH, REACH:-REACH])


def _window(grey: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the box as `SIDE` pixels and `REACH` more on each side, each the mean of four samples; the picture's edge is repeated."""
    import cv2

    left, top, right, bottom = (float(value) for value in box[:4])
    across, down, side = (right - left) / SIDE / 2, (bottom - top) / SIDE / 2, 2 * (SIDE + 2 * REACH)
    corner = left - (2 * REACH - 0.5) * across - 0.5, top - (2 * REACH - 0.5) * down - 0.5
    grid = np.array([[across, 0, corner[0]], [0, down, corner[1]]])
    sampled = cv2.warpAffine(grey, grid, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(sampled, (side // 2, side // 2), interpolation=cv2.INTER_AREA), np.uint8)


def _shift(
    grey: NDArray[np.uint8], box: NDArray[np.float32], before: NDArray[np.uint8], after: NDArray[np.uint8], part: float
) -> NDArray[np.float32] | None:
    """Return what moves the box onto the face that looks like `before` and `after`; none if there is no such face nearby."""
    window = _window(grey, box)
    one, other = _match(window, before), _match(window, after)
    if one is None or other is None or max(one.likeness, other.likeness) < LIKE or min(one.likeness, other.likeness) < FAINTLY_LIKE:
        return None
    across = ((1 - part) * one.x + part * other.x) * (box[2] - box[0]) / SIDE
    down = ((1 - part) * one.y + part * other.y) * (box[3] - box[1]) / SIDE
    return np.array([across, down, across, down], np.float32)


class _Match(NamedTuple):
    """Where a look is found in a window: its correlation there, and how far from the middle, in pixels of the window."""

    likeness: float
    x: float
    y: float


def _match(window: NDArray[np.uint8], look: NDArray[np.uint8]) -> _Match | None:
    """Return where the look fits best; none if that is the window's rim, so that it may lie farther off."""
    import cv2

    scores = cv2.matchTemplate(window, look, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    if not (0 < x < 2 * REACH and 0 < y < 2 * REACH):
        return None
    return _Match(best, x - REACH + _vertex(*scores[y, x - 1 : x + 2].tolist()), y - REACH + _vertex(*scores[y - 1 : y + 2, x].tolist()))


def _vertex(before: float, top: float, after: float) -> float:
    """Return how far from the middle one of three neighbouring scores their parabola is highest, at most half a step."""
    bend = before - 2 * top + after
    return min(max((before - after) / bend / 2, -0.5), 0.5) if bend < 0 else 0.0
