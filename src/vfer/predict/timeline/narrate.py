"""Make the timeline of a video: observe it in one pass, then make rows and segments in a second pass over the observations."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vfer.clips.digests import digest
from vfer.data.catalogue.manifest import Framing
from vfer.predict import baselines, quality, source
from vfer.predict.baselines import BaselineSource
from vfer.predict.inputs import printable
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.source import WHOLE, Span
from vfer.predict.timeline import people as persons
from vfer.predict.timeline.observe import NOBODY, Observation
from vfer.predict.timeline.people import PersonEntry
from vfer.predict.timeline.segments import Segment, Segmenter
from vfer.predict.timeline.spool import Spool
from vfer.predict.timeline.timeline import NOTICE, SCHEMA, Timeline, TimelineRow
from vfer.predict.timeline.windows import FrameAnswer, Stretch

if TYPE_CHECKING:
    from vfer.predict.recogniser import Recogniser

log = logging.getLogger(__name__)

Stretches = Callable[[str], tuple[Stretch, ...]]
"""Makes a person's stretches for one shot: the one whose answers count first, then the one without the person's baseline, if any."""


@dataclass(frozen=True)
class TimelineOptions:
    """How `Recogniser.timeline` analyses a video.

    Args:
        span: The part of it.
        framing: `scene`, `face`, or None for that of the training clips.
        entries: The names of people, as in a `people.csv`.
        recognise: Whether to recognise people when they come back, in other shots too.
        pictures: Whether to keep a small picture of each segment's peak.
        baseline: Where people's own baselines come from; None for no baselines.
    """

    span: Span = WHOLE
    framing: Framing | None = None
    entries: Sequence[PersonEntry] = ()
    recognise: bool = False
    pictures: bool = False
    baseline: BaselineSource | None = None


PLAIN = TimelineOptions()


@dataclass
class _Slot:
    """A row that waits for its answers."""

    observation: Observation
    person: str | None
    answers: list[FrameAnswer] = field(default_factory=list)
    expected: int = 0


class Narrator:
    """Makes rows and segments of what was observed, in one pass, holding a few seconds of it.

    Args:
        owner: Each track's person; tracks of nobody are left out.
        classes: The names of the expressions.
        threshold: The confidence below which an answer is uncertain.
        shown: Seconds for which one frame of the video is shown.
        max_gap: Longest gap without the face within a segment, in seconds.
        stretches: Makes a person's stretches for one shot.
    """

    def __init__(
        self, owner: Mapping[int, str], classes: Sequence[str], threshold: float, frame_seconds: float, max_gap: float, stretches: Stretches
    ) -> None:
        self._owner = owner
        self._classes, self._threshold, self._shown, self._max_gap = classes, threshold, frame_seconds, max_gap
        self._stretches = stretches
        self.segments: list[Segment] = []

    def rows(self, observations: Spool[Observation]) -> Iterator[TimelineRow]:
        """Yield the rows in the order of time, and of people within a frame; `segments` is complete after the last."""
        reach = self._reach(observations)
        for shot, group in groupby(observations, key=lambda one: one.shot):
            yield from self._shot(shot, group, {person: span for (number, person), span in reach.items() if number == shot})
        self.segments.sort(key=lambda one: (one.start, one.person))

    def _reach(self, observations: Spool[Observation]) -> dict[tuple[int, str], tuple[float, float]]:
        """Return from when to when each person is seen in each shot."""
        reach: dict[tuple[int, str], tuple[float, float]] = {}
        for one in observations:
            if person := self._owner.get(one.track):
                first = reach.get((one.shot, person), (one.time, one.time))[0]
                reach[one.shot, person] = first, one.time
        return reach

    def _shot(self, shot: int, group: Iterator[Observation], reach: dict[str, tuple[float, float]]) -> Iterator[TimelineRow]:
        stretches = {person: self._stretches(person) for person in reach}
        segmenters = {person: Segmenter(person, shot, self._classes, self._threshold, self._shown, self._max_gap) for person in reach}
        waiting: deque[_Slot] = deque()
        slots: dict[int, _Slot] = {}

        def settle(answers: Iterator[FrameAnswer]) -> None:
            for one in answers:
                slots[id(one.observation)].answers.append(one)

        def ready(*, final: bool) -> Iterator[TimelineRow]:
            while waiting and (final or len(waiting[0].answers) == waiting[0].expected):
                slot = waiting.popleft()
                slots.pop(id(slot.observation), None)
                yield self._row(slot, segmenters)

        for _, frame in groupby(group, key=lambda one: one.frame):
            for slot in self._slots(list(frame), reach):
                waiting.append(slot)
                if slot.person and slot.observation.track != NOBODY:
                    slots[id(slot.observation)] = slot
                    slot.expected = len(stretches[slot.person])
                    for stretch in stretches[slot.person]:
                        settle(stretch.add(slot.observation))
            yield from ready(final=False)
        for pair in stretches.values():
            for stretch in pair:
                settle(stretch.end())
        yield from ready(final=True)
        for segmenter in segmenters.values():
            self.segments += segmenter.finish()

    def _slots(self, frame: list[Observation], reach: dict[str, tuple[float, float]]) -> list[_Slot]:
        """Return the rows of one frame: people who are seen, people who were seen before and will be again, or nobody."""
        first = frame[0]
        by_person = {self._owner[one.track]: one for one in frame if one.track in self._owner}
        absent = Observation(first.frame, first.time, first.shot)
        slots = [
            _Slot(by_person.get(person, absent), person)
            for person, (start, end) in sorted(reach.items(), key=lambda one: _natural(one[0]))
            if person in by_person or start <= first.time <= end
        ]
        return slots or [_Slot(absent, None)]

    def _row(self, slot: _Slot, segmenters: dict[str, Segmenter]) -> TimelineRow:
        one, person = slot.observation, slot.person
        if not slot.answers or person is None:
            return TimelineRow(one.frame, one.time, one.shot, person)
        main, *other = slot.answers
        best = int(main.smooth.argmax())
        flags = quality.flags(one.size, one.sharp, None if np.isnan(one.yaw) else one.yaw)
        self.segments += segmenters[person].add(one.time, main.smooth, flags, one.picture)
        if main.smooth[best] < self._threshold:
            flags = (UNCERTAIN, *flags)
        plain = (other[0].raw, other[0].smooth) if other else None
        return TimelineRow(one.frame, one.time, one.shot, person, one.track, one.status, one.box, main.raw, main.smooth, best, flags, plain)


def _natural(name: str) -> tuple[str, int, str]:
    """Return a key that sorts P2 before P10."""
    digits = name[1:]
    return ("P", int(digits), "") if name[:1] == "P" and digits.isdecimal() else (name, 0, name)


def tell(recogniser: "Recogniser", video: Path, how: TimelineOptions, advance: Callable[[float], None] = lambda _: None) -> Timeline:
    """Return the timeline of a video.

    Args:
        recogniser: The model.
        video: The video.
        how: The options of the analysis.
        advance: Hears the seconds up to which the video was looked at.

    Raises:
        ClipError: The video cannot be used.
    """
    about = source.probe(video)
    observer = recogniser.observer(how.framing, pictures=how.pictures)
    observations: Spool[Observation] = Spool()
    for observation in observer.observations(video, about, how.span):
        observations.add(observation)
        advance(observation.time)
    groups = persons.grouped(list(observer.tracklets.values()), recognise=how.recognise)
    period, settings = recogniser.period(about), recogniser.settings
    everybody, unseen = persons.with_names(persons.from_groups(groups, observations, period), how.entries, observations)
    for entry in unseen:
        log.warning(f"{video}: {entry.name}, whom the list of people names, is not seen")
    owner = {track: one.name for one in everybody if not one.ignore for track in one.tracks}
    references = baselines.of_people(recogniser, how.baseline, observations, owner) if how.baseline else {}

    def stretches(person: str) -> tuple[Stretch, ...]:
        plain = recogniser.stretch()
        if how.baseline is None:
            return (plain,)
        return recogniser.stretch(references.get(person)), plain

    gap = settings.faces.max_gap
    narrator = Narrator(owner, recogniser.classes, settings.threshold, 1 / about.rate, gap, stretches)
    rows: Spool[TimelineRow] = Spool()
    for row in narrator.rows(observations):
        rows.add(row)
    seconds = observer.seconds + 1 / about.rate
    return Timeline(
        video,
        about,
        recogniser.classes,
        rows,
        observations,
        owner,
        observer.starts,
        everybody,
        unseen,
        sorted(references),
        narrator.segments,
        seconds,
        observer.decoded,
        provenance(recogniser, video, how),
    )


def provenance(recogniser: "Recogniser", video: Path, how: TimelineOptions) -> dict[str, Any]:
    """Return what a timeline is made from and with; everything that it depends on, but for the names of people."""
    from vfer import __version__

    return {
        "schema": SCHEMA,
        "vfer": __version__,
        "video": printable(video.name),
        "video_sha256": digest(video),
        "model": recogniser.title,
        "run_id": recogniser.run_id,
        "model_sha256": recogniser.digest,
        "classes": recogniser.classes,
        "settings": recogniser.settings_used().model_dump(mode="json"),
        "framing": how.framing or recogniser.settings.framing,
        "span": [how.span.start, how.span.end],
        "recognise": how.recognise,
        "pictures": how.pictures,
        **({"baseline": how.baseline.describe()} if how.baseline else {}),
        "notice": NOTICE,
    }
