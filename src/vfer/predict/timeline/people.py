"""Decide which tracks are one person, and keep the names that users give to people."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vfer.errors import DataError
from vfer.faces.track import iou
from vfer.files import write_csv
from vfer.predict.timeline.looks import likeness
from vfer.predict.timeline.observe import NOBODY, Observation, Tracklet

FEWEST = 3  # sampled frames of a track; one of fewer is a false alarm, unless all of its shot is that short
LOST = 3.0  # seconds after which a face that comes back is another person, unless people are recognised
NEAR = 1.5  # widths of a face between where it was lost and where it comes back
GROWTH = 2.0  # by which it may have grown or shrunk meanwhile
LIKE = 0.78  # likeness to a face that was lost nearby, a moment ago
SAME = 0.84  # likeness by which people are recognised anywhere; of clips of different people, none reached it
COLUMNS = ("person", "name", "ignore", "shots", "first", "last", "seconds", "at", "x0", "y0", "x1", "y1")
ANCHOR = ("at", "x0", "y0", "x1", "y1")
YES = ("1", "true", "yes", "x")
CLOSE = 0.3  # seconds between a person's anchor and the sampled frame where it is looked for


@dataclass(frozen=True)
class Person:
    """One person of a video.

    `person` numbers them as they appear (P1, P2, ...), `name` is what they are called, and `ignore` says whether they are left out.
    `anchor` is a moment that shows the face best, in seconds, and the box there, by which the next run finds the person again.
    """

    person: str
    name: str
    ignore: bool
    tracks: tuple[int, ...]
    shots: int
    first: float
    last: float
    seconds: float
    anchor: tuple[float, ...]


def grouped(tracklets: Sequence[Tracklet], *, recognise: bool) -> list[list[Tracklet]]:
    """Return the tracklets of each person, in the order in which they appear; those of false alarms are left out.

    Within a shot, a face that was lost and comes back nearby is the same person if it looks alike; with `recognise`, so are faces
    that look alike anywhere, as long as they are never seen together.
    """
    clear = _clear(tracklets)
    groups = [[one] for one in clear]
    _join(groups, _came_back, LIKE)
    if recognise:
        _join(groups, _apart, SAME)
    return sorted(groups, key=lambda group: group[0].number)


def _clear(tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    longest: dict[int, int] = {}
    for one in tracklets:
        longest[one.shot] = max(longest.get(one.shot, 0), one.count)
    return [one for one in tracklets if one.count >= min(FEWEST, longest[one.shot])]


def _join(groups: list[list[Tracklet]], may: Callable[[list[Tracklet], list[Tracklet]], bool], least: float) -> None:
    """Join the two groups that are most alike until none are alike enough; ties go to those that come first."""
    alike = {(a[0].number, b[0].number): _alike(a, b) for a in groups for b in groups if a[0].number < b[0].number and may(a, b)}
    while alike:
        (first, second), value = max(alike.items(), key=lambda one: (one[1], -one[0][0], -one[0][1]))
        if value < least:
            return
        a, b = (next(group for group in groups if group[0].number == number) for number in (first, second))
        groups.remove(b)
        a.extend(b)
        a.sort(key=lambda one: one.number)
        alike = {pair: value for pair, value in alike.items() if first not in pair and second not in pair}
        for other in groups:
            if other is not a and (may(a, other) or may(other, a)):
                low, high = sorted((a, other), key=lambda group: group[0].number)
                alike[low[0].number, high[0].number] = _alike(low, high)


def _alike(first: list[Tracklet], second: list[Tracklet]) -> float:
    described = [[one for track in group for one in track.described.items] for group in (first, second)]
    return likeness(*described)


def _came_back(first: list[Tracklet], second: list[Tracklet]) -> bool:
    """Return whether the second may be the first, come back after it was lost in the same shot."""
    before, after = max(first, key=lambda one: one.end), min(second, key=lambda one: one.start)
    if before.shot != after.shot or not 0 < after.start - before.end <= LOST or not _apart(first, second):
        return False
    widths = [float(box[2] - box[0]) for box in (before.last, after.first)]
    middles = [(box[:2] + box[2:]) / 2 for box in (before.last, after.first)]
    return max(widths) <= GROWTH * min(widths) and float(np.hypot(*(middles[1] - middles[0]))) <= NEAR * max(widths)


def _apart(first: list[Tracklet], second: list[Tracklet]) -> bool:
    return all(one.end < other.start or other.end < one.start for one in first for other in second)


@dataclass(frozen=True)
class PersonEntry:
    """One line of `people.csv`: what a person is called, whether they are left out, and their anchor."""

    name: str
    ignore: bool
    anchor: tuple[float, ...]


def read(path: Path) -> list[PersonEntry]:
    """Return the lines of a `people.csv`.

    Raises:
        DataError: If it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            lacking = [name for name in ("name", *ANCHOR) if name not in (reader.fieldnames or ())]
            if lacking:
                raise DataError(f"{path}: has no column {', '.join(lacking)}; delete it, and the next run writes it anew")
            return [_entry(row, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _entry(row: Mapping[str, str | None], where: str) -> PersonEntry:
    name = (row["name"] or row.get("person") or "").strip()
    if not name:
        raise DataError(f"{where}: name is empty; give the person a name")
    try:
        anchor = tuple(float(row[column] or "") for column in ANCHOR)
    except ValueError as error:
        raise DataError(f"{where}: {', '.join(ANCHOR)} must be numbers; leave them as they were written") from error
    return PersonEntry(name, (row.get("ignore") or "").strip().lower() in YES, anchor)


def with_names(
    people: Sequence[Person], entries: Sequence[PersonEntry], observations: Iterable[Observation]
) -> tuple[list[Person], list[PersonEntry]]:
    """Give people the names of the entries whose anchors they are found at; return also the entries at which nobody was found."""
    owner = {track: number for number, person in enumerate(people) for track in person.tracks}
    best: dict[int, tuple[float, float, int]] = {}
    anchors = [(entry.anchor[0], np.array([entry.anchor[1:]], np.float32)) for entry in entries]
    for one in observations:
        if one.track in owner:
            for number, (time, box) in enumerate(anchors):
                if abs(one.time - time) <= CLOSE:
                    overlap = float(iou(one.box[None], box)[0, 0])
                    best[number] = max(best.get(number, (0.3, 0.0, -1)), (overlap, -abs(one.time - time), owner[one.track]))
    assigned = {who: entries[number] for number, (_, _, who) in best.items() if who >= 0}
    result = [replace(one, name=assigned[i].name, ignore=assigned[i].ignore) if i in assigned else one for i, one in enumerate(people)]
    matched = [number for number, (_, _, who) in best.items() if who >= 0]
    return result, [entry for number, entry in enumerate(entries) if number not in matched]


def write(path: Path, people: Sequence[Person], unseen: Sequence[PersonEntry] = ()) -> None:
    """Write `people.csv`: change names to rename people, give two the same name to merge them, write yes to ignore one."""
    rows = [
        {
            **_line(one.name, ignore=one.ignore, anchor=one.anchor),
            "person": one.person,
            "shots": one.shots,
            "first": f"{one.first:.3f}",
            "last": f"{one.last:.3f}",
            "seconds": f"{one.seconds:.1f}",
        }
        for one in people
    ]
    write_csv(path, COLUMNS, [*rows, *(_line(one.name, ignore=one.ignore, anchor=one.anchor) for one in unseen)])


def _line(name: str, *, ignore: bool, anchor: tuple[float, ...]) -> dict[str, object]:
    places = {column: f"{value:.3f}" for column, value in zip(ANCHOR, anchor, strict=True)}
    return {"name": name, "ignore": "yes" if ignore else "", **places}


def from_groups(groups: Sequence[Sequence[Tracklet]], observations: Iterable[Observation], period: float) -> list[Person]:
    """Return the people whose tracklets are given, named as they are numbered."""
    owner = {one.number: number for number, group in enumerate(groups) for one in group}
    best: dict[int, tuple[float, Observation]] = {}
    for one in observations:
        if one.track != NOBODY and one.track in owner:
            merit = one.size * (1.0 if one.status in ("detected", "given") else 0.5)
            if owner[one.track] not in best or merit > best[owner[one.track]][0]:
                best[owner[one.track]] = merit, one
    people = []
    for number, group in enumerate(groups):
        anchor = best[number][1]
        seconds = sum(one.count for one in group) * period
        name, tracks, shots = f"P{number + 1}", tuple(one.number for one in group), len({one.shot for one in group})
        place = (anchor.time, *(float(value) for value in anchor.box))
        people.append(Person(name, name, False, tracks, shots, group[0].start, max(one.end for one in group), seconds, place))
    return people
