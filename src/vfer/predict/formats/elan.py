"""A timeline's segments for manual annotation: ELAN's `.eaf`, one tier per person, and Praat's TextGrid."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vfer.data.readers.elan import AUTHOR, KIND
from vfer.files import replacing, write_bytes
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.timeline.segments import Segment
from vfer.predict.timeline.timeline import Timeline

VOCABULARY = "expressions"
LANGUAGE = "und"
DATE = "2000-01-01T00:00:00+00:00"  # ELAN wants one; the same timeline gives the same bytes
MIME = {".mov": "video/quicktime", ".mpg": "video/mpeg", ".mpeg": "video/mpeg", ".avi": "video/x-msvideo"}


def milliseconds(segment: Segment) -> tuple[int, int]:
    """Return when a segment begins and ends, in whole milliseconds; it lasts one at least."""
    start = round(1000 * segment.start)
    return start, max(round(1000 * segment.end), start + 1)


def write_eaf(path: Path, timeline: Timeline) -> None:
    """Write an ELAN file; its properties keep the segments as predicted, so that corrections can be distinguished from them."""
    from pympi import Elan

    eaf: Any = Elan.Eaf(author=AUTHOR)
    eaf.adocument["DATE"] = DATE
    relative = _relative(timeline.video, path.parent)
    eaf.add_linked_file(timeline.video.resolve().as_uri(), relative, MIME.get(timeline.video.suffix.lower(), "video/mp4"))
    eaf.add_language(LANGUAGE, "http://cdb.iso.org/lg/CDB-00130975-001", "undetermined (und)")
    eaf.add_controlled_vocabulary(VOCABULARY, "expressions that the model knows")
    for number, name in enumerate((*timeline.classes, UNCERTAIN)):
        eaf.add_cv_entry(VOCABULARY, f"cv{number}", [(name, LANGUAGE, None)])
    eaf.add_linguistic_type(KIND)
    eaf.linguistic_types[KIND]["CONTROLLED_VOCABULARY_REF"] = VOCABULARY
    people = dict(by_person(timeline))
    for person, segments in people.items():
        eaf.add_tier(person, ling=KIND, part=person, ann=AUTHOR)
        for one in segments:
            eaf.add_annotation(person, *milliseconds(one), one.answer)
    if people:
        eaf.remove_tier("default")
    annotations = {person: [[*milliseconds(one), one.answer] for one in segments] for person, segments in people.items()}
    eaf.add_property("vfer:segments", json.dumps(annotations, separators=(",", ":")))
    eaf.add_property("vfer:provenance", json.dumps(timeline.provenance, sort_keys=True))
    write_bytes(path, b'<?xml version="1.0" encoding="UTF-8"?>\n' + Elan.to_string(eaf).encode())


def write_textgrid(path: Path, timeline: Timeline) -> None:
    """Write a TextGrid: an interval tier a person."""
    from pympi import Praat

    grid: Any = Praat.TextGrid(xmin=0, xmax=max([timeline.seconds, *(one.end for one in timeline.segments)]))
    for person, segments in by_person(timeline):
        tier = grid.add_tier(person)
        for one in segments:
            tier.add_interval(one.start, one.end, one.answer)
    with replacing(path) as temporary:
        grid.to_file(str(temporary), codec="utf-8")


def by_person(timeline: Timeline) -> Iterator[tuple[str, list[Segment]]]:
    """Yield each person with their segments in the order of time."""
    names = dict.fromkeys(one.name for one in timeline.people if not one.ignore)
    for name in names:
        yield name, [one for one in timeline.segments if one.person == name]


def _relative(video: Path, folder: Path) -> str:
    """Return the address of a video relative to a folder, for files that move together."""
    return "./" + quote(os.fsencode(os.path.relpath(video.resolve(), folder.resolve())))
