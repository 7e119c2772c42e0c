"""Predict a person's frames over time: overlapping windows by the sequence model, or each frame by the CNN."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfer.predict.timeline.observe import Observation
from vfer.register.settings import Windows

SLACK = 1e-6  # seconds; times are rounded
AHEAD = 256  # frames gathered before their windows are answered, so that the model sees many at once

Answer = Callable[[Sequence[Sequence[Observation]]], NDArray[np.float32]]
"""Maps windows, each some frames that show the face, to their probabilities, float32 (windows, classes)."""


class FrameAnswer(NamedTuple):
    """One frame's answers, float32 (classes,): of the window nearest to it, and the mean of those around it, the nearest most."""

    observation: Observation
    raw: NDArray[np.float32]
    smooth: NDArray[np.float32]


class Stretch:
    """One person in one shot: frames go in, and come out with their answers once all windows that reach them are answered.

    Args:
        answer: The model.
        windows: How long windows are, and how far apart they begin.
        single: Whether each frame is a window of its own; `windows.length` is then the time over which answers are smoothed.
    """

    def __init__(self, answer: Answer, windows: Windows, *, single: bool) -> None:
        self._answer, self._single = answer, single
        self._length, self._hop = windows.length, windows.hop
        self._frames: deque[Observation] = deque()  # that a window to come may hold
        self._waiting: deque[Observation] = deque()  # for their answers
        self._middles: list[float] = []
        self._answers: list[NDArray[np.float32]] = []
        self._next: float | None = None  # where the next window begins

    def add(self, observation: Observation) -> Iterator[FrameAnswer]:
        """Take the next frame that shows the face; yield frames whose answers are known."""
        self._frames.append(observation)
        self._waiting.append(observation)
        self._next = observation.time if self._next is None else self._next
        if len(self._waiting) % AHEAD == 0:
            yield from self._ready(final=False)

    def end(self) -> Iterator[FrameAnswer]:
        """Yield the frames that are left."""
        if self._waiting:
            yield from self._ready(final=True)

    def _ready(self, *, final: bool) -> Iterator[FrameAnswer]:
        windows = list(self._single_frames() if self._single else self._full_windows(final=final))
        if windows:
            self._middles += [middle for middle, _ in windows]
            self._answers += list(self._answer([frames for _, frames in windows]))
        middles, answers = np.array(self._middles), np.array(self._answers)
        horizon = np.inf
        if not final:  # the last window may begin anywhere after the last full one
            horizon = self._waiting[-1].time - self._length / 2 if self._single else (self._next or 0.0) - self._hop
        while self._waiting and self._waiting[0].time < horizon - SLACK:
            yield self._finished(self._waiting.popleft(), middles, answers)
        oldest = self._waiting[0].time if self._waiting else np.inf
        stale = int(np.searchsorted(middles, oldest - self._length))
        del self._middles[:stale], self._answers[:stale]

    def _single_frames(self) -> Iterator[tuple[float, list[Observation]]]:
        while self._frames:
            frame = self._frames.popleft()
            yield frame.time, [frame]

    def _full_windows(self, *, final: bool) -> Iterator[tuple[float, list[Observation]]]:
        """Yield the windows whose frames are all there, with their middles; at the end also a last one that ends with the frames."""
        last = self._frames[-1].time
        while self._next is not None and self._next + self._length <= last + SLACK:
            yield from self._window(self._next)
            self._next += self._hop
        if final and self._next is not None and (not self._middles or self._next - self._hop + self._length < last - SLACK):
            yield from self._window(max(last - self._length, self._frames[0].time))

    def _window(self, start: float) -> Iterator[tuple[float, list[Observation]]]:
        while self._frames and self._frames[0].time < start - self._hop - SLACK:
            self._frames.popleft()
        inside = [frame for frame in self._frames if start - SLACK <= frame.time <= start + self._length + SLACK]
        if inside:
            yield start + self._length / 2, inside

    def _finished(self, frame: Observation, middles: NDArray[np.float64], answers: NDArray[np.float32]) -> FrameAnswer:
        away = np.abs(middles - frame.time)
        weights = np.where(away <= self._length / 2 + SLACK, 1 - away / (self._length / 2 + self._hop), 0)
        nearest = int(away.argmin())
        if not weights.any():
            weights[nearest] = 1
        smooth = weights @ answers / weights.sum()
        return FrameAnswer(frame, answers[nearest], np.asarray(smooth, np.float32))
