"""Link the faces of one shot into tracks, frame by frame at the video's own rate, guessing each face's place by its velocity."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfer.faces.likeness import SearchedFrame
from vfer.faces.track import OVERLAP, SLACK, iou

MEMORY = 0.3  # seconds of a track over which its velocity is taken
REACH = 0.5  # seconds for which a lost face is guessed to go on at its velocity; after that, to stand still

Box = NDArray[np.float32]


class Place(NamedTuple):
    """Where a face is in one frame: seconds, the box, float32 (4,), a status of the faces table, and the score, NaN unless detected."""

    time: float
    box: Box
    status: str
    score: float


@dataclass
class OpenTrack:
    """One face of one shot, and where it was of late."""

    number: int
    recent: deque[Place] = field(default_factory=deque)

    def guess(self, time: float) -> Box:
        """Return where the face is likely to be at a time, float32 (4,)."""
        last = self.recent[-1]
        first = next(place for place in self.recent if place.time >= last.time - MEMORY)
        if last.time <= first.time:
            return last.box
        middle, before = ((place.box[:2] + place.box[2:]) / 2 for place in (last, first))
        shift = (middle - before) / (last.time - first.time) * min(time - last.time, REACH)
        return np.asarray(last.box + np.tile(shift, 2), np.float32)

    def at(self, time: float) -> Place | None:
        """Return the face's place at a time, interpolated where it was lost meanwhile; none before its first and after its last."""
        before = None
        for place in self.recent:
            if abs(place.time - time) <= SLACK:
                return place
            if place.time > time:
                return _between(before, place, time) if before else None
            before = place
        return None

    def forget(self, time: float) -> None:
        """Drop the places before a time, but for the last of them."""
        while len(self.recent) > 1 and self.recent[1].time < time:
            self.recent.popleft()


def _between(before: Place, after: Place, time: float) -> Place:
    part = (time - before.time) / (after.time - before.time)
    return Place(time, np.asarray((1 - part) * before.box + part * after.box, np.float32), "interpolated", np.nan)


class Linker:
    """The tracks of one shot.

    Args:
        first: The number of its first track; they are numbered in the order of time, and from left to right.
        max_gap: Seconds for which a face may be lost within a track.
    """

    def __init__(self, first: int, max_gap: float) -> None:
        self.next, self._max_gap = first, max_gap
        self._alive: list[OpenTrack] = []

    def add(self, frame: SearchedFrame) -> None:
        """Take the faces of the next frame."""
        self._alive = [track for track in self._alive if frame.time - track.recent[-1].time <= self._max_gap + SLACK]
        free = dict.fromkeys(np.argsort(frame.boxes[:, 0], kind="stable").tolist())
        for track, column in self._pairs(frame):
            del free[column]
            track.recent.append(_place(frame, column))
        for column in free:
            self._alive.append(OpenTrack(self.next, deque([_place(frame, column)])))
            self.next += 1

    def _pairs(self, frame: SearchedFrame) -> Iterator[tuple[OpenTrack, int]]:
        """Yield each track that continues and the number of its box, those that overlap most first."""
        guesses = np.array([track.guess(frame.time) for track in self._alive], np.float32).reshape(-1, 4)
        overlaps = iou(guesses, frame.boxes)
        while overlaps.size and overlaps.max() >= OVERLAP:
            row, column = divmod(int(overlaps.argmax()), overlaps.shape[1])
            yield self._alive[row], column
            overlaps[row], overlaps[:, column] = -1, -1

    def places(self, time: float) -> list[tuple[int, Place]]:
        """Return the number and the place of each face at a time, which must not run back."""
        places = [(track.number, place) for track in self._alive if (place := track.at(time))]
        for track in self._alive:
            track.forget(min(time, track.recent[-1].time - MEMORY))
        return sorted(places, key=lambda one: one[0])


def _place(frame: SearchedFrame, column: int) -> Place:
    box = frame.boxes[column]
    return Place(frame.time, box[:4].copy(), "tracked" if frame.tracked else "detected", float(box[4]))


class TrackedFrame(NamedTuple):
    """The faces in one sampled frame: the picture, and each track's number with its place."""

    frame: SearchedFrame
    places: list[tuple[int, Place]]


def follow(frames: Iterable[tuple[SearchedFrame, bool]], linker: Linker, max_gap: float) -> Iterator[TrackedFrame]:
    """Yield the frames of a shot that are sampled, once it is known which gaps of up to `max_gap` seconds are bridged.

    Args:
        frames: Every frame with its faces, and whether it is sampled.
        linker: The tracks of the shot.
        max_gap: Seconds for which a face may be lost within a track.
    """
    pending: deque[SearchedFrame] = deque()
    for frame, sampled in frames:
        while pending and frame.time - pending[0].time > max_gap + SLACK:
            yield TrackedFrame(pending[0], linker.places(pending.popleft().time))
        linker.add(frame)
        if sampled:
            pending.append(frame)
    for frame in pending:
        yield TrackedFrame(frame, linker.places(frame.time))
