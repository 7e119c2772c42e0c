"""Write a film with its timeline drawn on it, or with blurred faces, with its own frame times and sound."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.errors import ClipError
from vfer.predict.render import drawing
from vfer.predict.render.report import colours, ink
from vfer.predict.source import Span
from vfer.predict.timeline.segments import Segment
from vfer.predict.timeline.timeline import NOTICE, Timeline
from vfer.video import decode
from vfer.video.container import opened
from vfer.video.write import FilmWriter

HOLD = 0.5  # seconds for which a face stays blurred before it is first and after it is last seen in a shot
LONGEST = 1.0  # seconds without sight of a face over which its place is taken to change evenly
MARGIN = 0.35  # what is blurred around a face, as a share of its size
AROUND = 4.0  # seconds of the curve before and after the present moment
PANEL = 0.3  # share of the picture's height that curves may take
GREY = (185, 190, 200)
ALL, OTHERS = "all", "others"
COMMENT = "Annotated by vfer"

Piece = tuple[drawing.Colour, list[tuple[float, float]]]
"""A part of a curve, of one colour."""


@dataclass
class FacePath:
    """Where one track's face is: times, boxes, and the shot; the person is None in a track of nobody."""

    person: str | None
    shot: int
    times: list[float] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)

    def at(self, time: float, hold: float) -> NDArray[np.float32] | None:
        """Return the box at a time, float32 (4,); the nearest one up to `hold` seconds before the first and after the last."""
        after = bisect_left(self.times, time)
        if after < len(self.times) and self.times[after] <= time:
            return self.boxes[after]
        if 0 < after < len(self.times):
            before, following = self.times[after - 1], self.times[after]
            if following - before <= LONGEST:
                part = (time - before) / (following - before)
                return np.asarray((1 - part) * self.boxes[after - 1] + part * self.boxes[after], np.float32)
        near = [(abs(self.times[i] - time), i) for i in (after - 1, after) if 0 <= i < len(self.times)]
        away, index = min(near)
        return self.boxes[index] if away <= hold else None


@dataclass
class Line:
    """One person's curve: times, the most probable expression after smoothing, and its probability."""

    times: list[float] = field(default_factory=list)
    best: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


class Annotator:
    """Draws a timeline on the frames of its video.

    Args:
        timeline: The timeline.
        blurred: `all`, `others` for those who are ignored or belong to nobody, or names of people.
    """

    def __init__(self, timeline: Timeline, blurred: Sequence[str]) -> None:
        self._shots, self._blurred = timeline.shots, set(blurred)
        self._period = 1 / min(timeline.provenance["settings"]["frames"]["fps"], timeline.about.rate)
        self._courses = _courses(timeline)
        self._by_shot: dict[int, list[FacePath]] = {}
        for course in self._courses.values():
            self._by_shot.setdefault(course.shot, []).append(course)
        self._lines = _lines(timeline)
        self._segments: dict[str, list[Segment]] = {}
        for segment in timeline.segments:
            self._segments.setdefault(segment.person, []).append(segment)
        shades = colours(timeline.classes)
        self._colours = [drawing.rgb(shade) for shade in shades]
        self._inks = dict(zip(timeline.classes, (drawing.rgb(ink(shade)) for shade in shades), strict=True))
        self._shades = dict(zip(timeline.classes, self._colours, strict=True))

    def draw(self, picture: NDArray[np.uint8], time: float) -> None:
        """Draw what is shown at a time on a frame, uint8 (h, w, 3)."""
        shot = max(bisect_right(self._shots, time + 1e-6) - 1, 0)
        courses = self._by_shot.get(shot, [])
        for course in courses:
            box = course.at(time, HOLD) if self._is_blurred(course.person) else None
            if box is not None:
                drawing.blur(picture, box, MARGIN)
        size = max(11, round(picture.shape[0] / 32))
        visible = [(course.person, box) for course in courses if course.person and (box := course.at(time, self._period)) is not None]
        for person, box in visible:
            self._draw_face(picture, str(person), box, time, size)
        self._draw_curves(picture, time, [str(person) for person, _ in visible], size)

    def _is_blurred(self, person: str | None) -> bool:
        return ALL in self._blurred or (OTHERS in self._blurred and person is None) or person in self._blurred

    def _draw_face(self, picture: NDArray[np.uint8], person: str, box: NDArray[np.float32], time: float, size: int) -> None:
        segment = self._segment(person, time)
        answer = segment.answer if segment else ""
        ground, letters = self._shades.get(answer, GREY), self._inks.get(answer, (20, 20, 20))
        text = f"{person}: {answer}" if answer else person
        drawing.box(picture, box, ground, max(2, size // 8))
        drawing.label(picture, text, (round(float(box[0])), round(float(box[1]))), size, letters, ground)

    def _segment(self, person: str, time: float) -> Segment | None:
        segments = self._segments.get(person, [])
        index = bisect_right([one.start for one in segments], time + 1e-6) - 1
        return segments[index] if index >= 0 and time < segments[index].end + self._period else None

    def _draw_curves(self, picture: NDArray[np.uint8], time: float, people: Iterable[str], size: int) -> None:
        """Draw, at the bottom, how sure each person's expression is, in its colour, with the present moment in the middle."""
        height, width = picture.shape[:2]
        lane = 2 * size
        names = sorted(dict.fromkeys(people))[: max(1, round(PANEL * height / lane))]
        if not names:
            return
        top = height - lane * len(names)
        drawing.panel(picture, (0, top, width, height))
        for row, name in enumerate(names):
            bottom = top + lane * (row + 1) - 2
            for colour, points in self._pieces(name, time, width, bottom, lane - 4):
                drawing.curve(picture, points, colour, max(2, size // 8))
            drawing.label(picture, name, (2, bottom - lane // 3), max(10, size * 2 // 3), (255, 255, 255), (60, 60, 60))
        drawing.curve(picture, [(width / 2, top), (width / 2, height - 1)], (255, 255, 255), 1)

    def _pieces(self, name: str, time: float, width: int, bottom: int, height: int) -> list[Piece]:
        line = self._lines[name]
        first, last = bisect_left(line.times, time - AROUND), bisect_right(line.times, time + AROUND)
        pieces: list[Piece] = []
        for at in range(first, last):
            point = (width * (0.5 + (line.times[at] - time) / (2 * AROUND)), bottom - height * line.values[at])
            follows = at > first and line.times[at] - line.times[at - 1] <= 2.5 * self._period
            if not follows or line.best[at] != line.best[at - 1]:
                start = [pieces[-1][1][-1]] if follows else []
                pieces.append((self._colours[line.best[at]], start))
            pieces[-1][1].append(point)
        return pieces


def _courses(timeline: Timeline) -> dict[int, FacePath]:
    courses: dict[int, FacePath] = {}
    for one in timeline.faces:
        if one.embedding is not None:
            course = courses.setdefault(one.track, FacePath(timeline.owner.get(one.track), one.shot))
            course.times.append(one.time)
            course.boxes.append(one.box)
    return courses


def _lines(timeline: Timeline) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for row in timeline.rows:
        if row.person and row.smooth is not None and row.best is not None:
            line = lines.setdefault(row.person, Line())
            line.times.append(row.time)
            line.best.append(row.best)
            line.values.append(float(row.smooth[row.best]))
    return lines


def annotated(path: Path) -> bool:
    """Return whether a file is a film that `write` wrote, be it incomplete."""
    try:
        with opened(path) as (container, _):
            return container.metadata.get("comment", "").startswith(COMMENT)
    except ClipError:
        return False


def write(timeline: Timeline, path: Path, blurred: Sequence[str], span: Span, advance: Callable[[float], None] = lambda _: None) -> None:
    """Write an annotated film.

    Args:
        timeline: The timeline.
        path: The film to write, an MP4; a run that is interrupted leaves a shorter one that plays.
        blurred: As for `Annotator`.
        span: The part of the video that the timeline is of.
        advance: Hears the seconds up to which it is written.

    Raises:
        ClipError: The video cannot be decoded.
    """
    annotator = Annotator(timeline, blurred)
    size = timeline.about.width, timeline.about.height
    comment = f"{COMMENT} {timeline.provenance['vfer']} with {timeline.provenance['model']}. {NOTICE}"
    with FilmWriter(path, timeline.video, size, span.start, span.end, comment) as film:
        for frame in decode.frames(timeline.video, None, 16, colour=True, start=span.start, end=span.end):
            if frame.rgb is not None:
                annotator.draw(frame.rgb, frame.time)
                film.add(frame.time, frame.rgb)
                advance(frame.time)
