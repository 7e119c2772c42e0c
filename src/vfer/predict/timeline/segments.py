"""Join a person's frames into segments of one expression, with hysteresis, so that a tie between two does not flicker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vfer.predict.prediction import UNCERTAIN

MARGIN = 0.1  # by how much another expression must exceed the present one to take its place
BRIEF = 0.3  # seconds; a shorter segment goes to its neighbour


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which a person shows one expression.

    `start` and `end` are in seconds, `peak` is the time at which the expression is strongest, and `confidence` is the mean of its
    smoothed probability. `flags` are those of more than half of the frames, and `uncertain` where the confidence is below the model's
    threshold. `picture` is a small JPEG of the face near the peak, where pictures were asked for.
    """

    person: str
    shot: int
    start: float
    end: float
    expression: str
    confidence: float
    peak: float
    flags: tuple[str, ...] = ()
    picture: bytes | None = None

    @property
    def answer(self) -> str:
        """The expression, or `uncertain`."""
        return UNCERTAIN if UNCERTAIN in self.flags else self.expression


@dataclass
class _Run:
    label: int
    start: float
    end: float
    total: NDArray[np.float64]
    frames: int
    peak: tuple[float, float]  # probability and time
    picture: tuple[float, bytes] | None  # of the frame that has one and shows the expression best, with its probability
    flags: dict[str, int] = field(default_factory=dict)

    def same(self, other: "_Run") -> None:
        """Take in a run of the same expression that follows at once."""
        self.take(other)
        self.peak = max(self.peak, other.peak, key=lambda one: one[0])
        if other.picture and (not self.picture or other.picture[0] > self.picture[0]):
            self.picture = other.picture

    def take(self, other: "_Run") -> None:
        """Take in a run that follows at once."""
        self.end, self.total, self.frames = other.end, self.total + other.total, self.frames + other.frames
        for flag, count in other.flags.items():
            self.flags[flag] = self.flags.get(flag, 0) + count


class Segmenter:
    """The segments of one person in one shot.

    Args:
        person: The person's name.
        shot: The shot's number.
        classes: The names of the expressions.
        threshold: The confidence below which a segment is uncertain.
        shown: Seconds for which the last frame of a segment is shown.
        max_gap: Longest gap without the face within a segment, in seconds.
    """

    def __init__(self, person: str, shot: int, classes: Sequence[str], threshold: float, frame_seconds: float, max_gap: float) -> None:
        self._person, self._shot, self._classes, self._threshold = person, shot, classes, threshold
        self._shown, self._max_gap = frame_seconds, max_gap
        self._runs: list[_Run] = []  # that touch each other; at most the last two may still grow

    def add(self, time: float, smooth: NDArray[np.float32], flags: Sequence[str], picture: bytes | None = None) -> Iterator[Segment]:
        """Take the next frame that shows the face; yield segments that have ended."""
        if self._runs and time - self._runs[-1].end > self._max_gap:
            yield from self.finish()
        label = self._label(smooth)
        strength = float(smooth[label])
        pictured = (strength, picture) if picture else None
        run = _Run(label, time, time + self._shown, smooth.astype(np.float64), 1, (strength, time), pictured, dict.fromkeys(flags, 1))
        if not self._runs:
            self._runs.append(run)
            return
        self._runs[-1].end = time
        if self._runs[-1].label == label:
            self._runs[-1].same(run)
            return
        self._settle()
        if self._runs[-1].label == label:
            self._runs[-1].same(run)
            return
        if len(self._runs) == 1 and self._brief(self._runs[0]):  # there is none before it
            self._runs[0].take(run)
            self._runs[0].label, self._runs[0].peak = label, run.peak
            self._runs[0].picture = run.picture or self._runs[0].picture
            return
        self._runs.append(run)
        if len(self._runs) > 2:
            yield self._segment(self._runs.pop(0))

    def finish(self) -> Iterator[Segment]:
        """Yield the segments that are left; the next frame begins a new one."""
        if self._runs:
            self._settle()
        yield from map(self._segment, self._runs)
        self._runs = []

    def _label(self, smooth: NDArray[np.float32]) -> int:
        best = int(smooth.argmax())
        if not self._runs:
            return best
        present = self._runs[-1].label
        return best if smooth[best] >= smooth[present] + MARGIN else present

    def _settle(self) -> None:
        """Give the last run to the one before where it was brief."""
        if len(self._runs) > 1 and self._brief(self._runs[-1]):
            brief = self._runs.pop()
            self._runs[-1].take(brief)

    @staticmethod
    def _brief(run: _Run) -> bool:
        return run.end - run.start < BRIEF

    def _segment(self, run: _Run) -> Segment:
        confidence = float(run.total[run.label] / run.frames)
        doubts = [UNCERTAIN] if confidence < self._threshold else []
        flags = (*doubts, *sorted(flag for flag, count in run.flags.items() if 2 * count > run.frames))
        picture = run.picture[1] if run.picture else None
        return Segment(self._person, self._shot, run.start, run.end, self._classes[run.label], confidence, run.peak[1], flags, picture)
