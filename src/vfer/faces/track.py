"""Follow one face through a clip, from the boxes that a detector found in each frame."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vfer.faces.params import Policy

OVERLAP = 0.2  # a face that moves half its width between two frames still overlaps itself by a third
BRIEF = 0.25  # a track under this share of the longest one's detections may be a false alarm: it is asked last
SLACK = 1e-6  # seconds; times are rounded


@dataclass
class Track:
    """One face: the frames (positions in the clip) where it was found, and its (5,) boxes there."""

    frames: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True)
class Path:
    """The face that was followed: for each of n frames a status, a score (n,) and a box (n, 4) float32, NaN where none."""

    status: list[str]
    score: NDArray[np.float32]
    box: NDArray[np.float32]


def follow(
    detections: Sequence[NDArray[np.float32]],
    times: NDArray[np.float64],
    size: tuple[int, int],
    policy: Policy,
    max_gap: float,
    tracked: Collection[int] = (),
) -> Path:
    """Choose one face by the policy and follow it; `detections` holds the boxes of each frame, (n, 5), and `size` is (width, height).

    Where the face is lost (it leaves, or the scene is cut), the next best track that was never visible beside it takes over.
    Boxes are interpolated linearly between two frames of one track that are at most `max_gap` seconds apart. `tracked` are
    the frames whose boxes were not detected.
    """
    path = Path(["none"] * len(detections), np.full(len(detections), np.nan, np.float32), np.full((len(detections), 4), np.nan, np.float32))
    for track in choose(link(detections, times, max_gap), size, policy):
        for frame, box in zip(track.frames, track.boxes, strict=True):
            path.status[frame] = "tracked" if frame in tracked else "detected"
            path.score[frame], path.box[frame] = box[4], box[:4]
        _interpolate(path, track, times)
    return path


def link(detections: Sequence[NDArray[np.float32]], times: NDArray[np.float64], max_gap: float) -> list[Track]:
    """Join boxes of successive frames into tracks, the pairs that overlap most first; a track may miss `max_gap` seconds."""
    tracks: list[Track] = []
    alive: list[Track] = []
    for frame, boxes in enumerate(detections):
        alive = [track for track in alive if track.frames[-1] == frame - 1 or times[frame] - times[track.frames[-1]] <= max_gap + SLACK]
        free = set(range(len(boxes)))
        overlaps = iou(np.array([track.boxes[-1] for track in alive]).reshape(-1, 5), boxes)
        for flat in np.argsort(-overlaps, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(boxes))
            if overlaps[row, column] < OVERLAP:
                break
            if column in free and alive[row].frames[-1] != frame:
                free.remove(column)
                _append(alive[row], frame, boxes[column])
        fresh = [Track([frame], [boxes[column]]) for column in sorted(free)]
        tracks.extend(fresh)
        alive.extend(fresh)
    return tracks


def choose(tracks: Sequence[Track], size: tuple[int, int], policy: Policy) -> list[Track]:
    """Return the best track by the policy, then each next best one that shares no stretch of time with those before it."""
    longest = max((len(track.frames) for track in tracks), default=0)

    def rank(track: Track) -> tuple[bool, float, int]:
        return len(track.frames) < BRIEF * longest, -_merit(track, size, policy), track.frames[0]

    path: list[Track] = []
    for track in sorted(tracks, key=rank):
        if all(track.frames[-1] < other.frames[0] or other.frames[-1] < track.frames[0] for other in path):
            path.append(track)
    return path


def iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each of (n, 4+) boxes with each of (m, 4+): (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    union = _area(first)[:, None] + _area(second)[None] - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float32).tiny), np.float32)


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def _append(track: Track, frame: int, box: NDArray[np.float32]) -> None:
    track.frames.append(frame)
    track.boxes.append(box)


def _merit(track: Track, size: tuple[int, int], policy: Policy) -> float:
    boxes = np.array(track.boxes)
    if policy == "largest":
        return float(np.median(_area(boxes)))
    if policy == "central":
        centres = (boxes[:, :2] + boxes[:, 2:4]) / 2
        return -float(np.median(np.hypot(*(centres - np.array(size) / 2).T)))
    return float(len(track.frames))


def _interpolate(path: Path, track: Track, times: NDArray[np.float64]) -> None:
    for before, after in zip(track.frames, track.frames[1:], strict=False):
        for frame in range(before + 1, after):
            part = (times[frame] - times[before]) / (times[after] - times[before])
            path.status[frame] = "interpolated"
            path.box[frame] = (1 - part) * path.box[before] + part * path.box[after]
