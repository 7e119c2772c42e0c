"""The report of a timeline: one page of HTML, with the curves, segments and pictures inside, and the video beside it."""

import base64
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from vfer.evaluate import pages
from vfer.predict.inputs import printable
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.quality import FLAGS
from vfer.predict.timeline.timeline import NOTICE, Timeline, TimelineRow

TEMPLATE = Path(__file__).parent / "templates" / "timeline.html"
MOST = 36_000  # frames of a person in the page: an hour at ten a second; of more, as many are shown, evenly
COLOURS = {
    "neutral": "#8a93a3",
    "calm": "#5aa9e6",
    "happy": "#f2b134",
    "sad": "#3566b8",
    "angry": "#d1383d",
    "fear": "#8e5bb5",
    "disgust": "#4f9d4a",
    "surprise": "#ef7d3c",
    "contempt": "#8c6239",
}
OTHERS = ("#1a9e96", "#c0569c", "#7a8b1f", "#4a4e9e", "#b0804a", "#2f7f5f")
"""Of expressions that are none of these, in their order."""
DOUBTFUL = "#b9bec8"
DARK, LIGHT = "#14171c", "#ffffff"
DOUBTS = (UNCERTAIN, *FLAGS)


def write(path: Path, timeline: Timeline) -> None:
    """Write the report, atomically; it finds the video by its place relative to the report."""
    people = _people(timeline)
    video = quote(os.fsencode(os.path.relpath(timeline.video.resolve(), path.parent.resolve())))
    pages.write(
        path,
        TEMPLATE,
        title=printable(timeline.video.name),
        name=printable(timeline.video.name),
        summary=_summary(timeline, len(people)),
        notice=NOTICE,
        video=video,
        plain="baseline" in timeline.provenance,
        people=people,
        provenance=timeline.provenance,
        made=list(_provenance(timeline)),
        data=_data(timeline, people),
    )


def colours(classes: list[str]) -> list[str]:
    """Return a colour for each expression, as #rrggbb."""
    others = iter(OTHERS * (1 + len(classes)))
    return [COLOURS.get(name) or next(others) for name in classes]


def ink(colour: str) -> str:
    """Return the colour of text that is legible on a colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT


def _summary(timeline: Timeline, people: int) -> str:
    counts = f"{_many(people, 'person', 'people')}, {_many(len(timeline.shots), 'shot', 'shots')}"
    return f"{counts}, {pages.clock(timeline.seconds)}; by {timeline.provenance['model']}"


def _many(count: int, one: str, more: str) -> str:
    return f"{count or 'no'} {one if count == 1 else more}"


def _provenance(timeline: Timeline) -> list[tuple[str, object]]:
    """Return what the reader should know of how the report was made, by name."""
    about, settings = timeline.provenance, timeline.provenance["settings"]
    rows: list[tuple[str, object]] = [
        ("video", f"{about['video']}, sha256 {about['video_sha256']}"),
        ("model", about["model"]),
        ("MLflow run", about["run_id"] or "none"),
        ("frames", f"{settings['frames']['fps']:g} a second; {timeline.decoded} decoded"),
        ("people across shots", "recognised by their looks" if about["recognise"] else "not recognised; each shot has people of its own"),
        (
            "uncertain",
            f"below a confidence of {settings['threshold']:.2f}" if settings["threshold"] else "never; the model has no threshold",
        ),
        ("vfer", about["vfer"]),
    ]
    if "baseline" in about:
        rows.insert(3, ("baseline", f"from {about['baseline']['from']}, of {', '.join(timeline.with_baseline) or 'nobody'}"))
    return rows


def _people(timeline: Timeline) -> list[dict[str, Any]]:
    """Return each person's frames, packed, and segments."""
    counts = Counter(row.person for row in timeline.rows if row.box is not None)
    names = [name for name in dict.fromkeys(one.name for one in timeline.people if not one.ignore) if counts[name]]
    parts: dict[str, _Packed] = {name: _Packed(-(-counts[name] // MOST)) for name in names}
    for row in timeline.rows:
        if row.person in parts and row.box is not None:
            parts[row.person].add(row)
    seconds = {name: round(sum(one.seconds for one in timeline.people if one.name == name), 1) for name in names}
    classes = {name: number for number, name in enumerate(timeline.classes)}
    return [
        {
            "name": name,
            "seconds": seconds[name],
            **parts[name].packed(),
            "segments": [
                {
                    "start": round(one.start, 3),
                    "end": round(one.end, 3),
                    "expression": classes.get(one.answer, -1),
                    "confidence": round(one.confidence, 3),
                    "peak": round(one.peak, 3),
                    "flags": ", ".join(one.flags),
                    **({"picture": one.picture} if one.picture else {}),
                }
                for one in timeline.segments
                if one.person == name
            ],
        }
        for name in names
    ]


class _Packed:
    """A person's frames, one in `every`, as the page reads them."""

    def __init__(self, every: int) -> None:
        self._every, self._count = every, 0
        self._time: list[float] = []
        self._smooth: list[bytes] = []
        self._plain: list[bytes] = []
        self._box: list[bytes] = []
        self._doubt = bytearray()

    def add(self, row: TimelineRow) -> None:
        """Take a row in which the person is seen."""
        assert row.smooth is not None
        assert row.box is not None
        self._count += 1
        if (self._count - 1) % self._every:
            return
        self._time.append(row.time)
        self._smooth.append(_shares(row.smooth))
        self._plain += [_shares(row.plain[1])] if row.plain else []
        self._box.append(np.clip(np.round(row.box), -32768, 32767).astype("<i2").tobytes())
        self._doubt.append(sum(1 << DOUBTS.index(flag) for flag in row.flags if flag in DOUBTS))

    def packed(self) -> dict[str, Any]:
        parts = {
            "time": np.array(self._time, "<f4").tobytes(),
            "smooth": b"".join(self._smooth),
            "plain": b"".join(self._plain),
            "box": b"".join(self._box),
            "doubt": bytes(self._doubt),
        }
        return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def _shares(probabilities: NDArray[np.float32]) -> bytes:
    return np.clip(np.round(255 * probabilities), 0, 255).astype(np.uint8).tobytes()


def _data(timeline: Timeline, people: list[dict[str, Any]]) -> dict[str, Any]:
    shades = colours(timeline.classes)
    return {
        "classes": timeline.classes,
        "colours": shades,
        "uncertain": DOUBTFUL,
        "inks": [*map(ink, shades), ink(DOUBTFUL)],
        "flags": DOUBTS,
        "start": round(timeline.shots[0], 3),
        "end": round(timeline.seconds, 3),
        "rate": timeline.about.rate,
        "period": round(1 / min(timeline.provenance["settings"]["frames"]["fps"], timeline.about.rate), 4),
        "gap": max(0.25, 2.5 / timeline.provenance["settings"]["frames"]["fps"]),
        "width": timeline.about.width,
        "height": timeline.about.height,
        "shots": [round(time, 3) for time in timeline.shots],
        "people": people,
    }
