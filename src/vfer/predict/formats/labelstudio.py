"""A timeline as a task for Label Studio: one box per segment, which moves with the face and is labelled with the expression."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vfer.files import write_bytes
from vfer.predict.inputs import printable
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.timeline.timeline import Timeline, TimelineRow

EVERY = 0.5  # seconds between two key frames of a box
CONFIG = """<View>
  <Labels name="expression" toName="video">
{labels}
  </Labels>
  <Video name="video" value="$video" framerate="{rate:.3f}"/>
  <VideoRectangle name="box" toName="video"/>
</View>
"""


def write(path: Path, timeline: Timeline) -> None:
    """Write a list of one task, whose predictions are the segments, and beside it the labelling interface, as XML."""
    rate = timeline.about.rate
    result = [
        {
            "id": f"{number:05d}",
            "type": "videorectangle",
            "from_name": "box",
            "to_name": "video",
            "value": {
                "framesCount": round(timeline.seconds * rate),
                "duration": round(timeline.seconds, 3),
                "labels": [segment.answer],
                "sequence": [*sequence, {**sequence[-1], **_moment(segment.end, rate), "enabled": False}],
            },
            "score": round(segment.confidence, 5),
            "meta": {"text": [segment.person]},
        }
        for number, (segment, sequence) in enumerate(zip(timeline.segments, _sequences(timeline), strict=True))
        if sequence
    ]
    task = {
        "data": {"video": printable(timeline.video.name), "vfer": timeline.provenance},
        "predictions": [{"model_version": timeline.provenance["model"], "result": result}],
    }
    write_bytes(path, (json.dumps([task], indent=1, ensure_ascii=False) + "\n").encode())
    labels = "\n".join(f'    <Label value="{name}"/>' for name in (*timeline.classes, UNCERTAIN))
    write_bytes(path.with_suffix(".xml"), CONFIG.format(labels=labels, rate=rate).encode())


def _sequences(timeline: Timeline) -> list[list[dict[str, Any]]]:
    """Return the key frames of each segment's box, in per cent of the picture."""
    sequences: list[list[dict[str, Any]]] = [[] for _ in timeline.segments]
    segments = list(enumerate(timeline.segments))
    ahead: dict[str, Iterator[Any]] = {
        name: iter([one for one in segments if one[1].person == name]) for name in {one.person for one in timeline.segments}
    }
    present = {name: next(rest) for name, rest in ahead.items()}
    for row in timeline.rows:
        if row.box is None or row.person not in present:
            continue
        while row.time >= present[row.person][1].end and (following := next(ahead[row.person], None)):
            present[row.person] = following
        number, segment = present[row.person]
        if segment.start <= row.time < segment.end:
            frames = sequences[number]
            if not frames or row.time - frames[-1]["time"] >= EVERY:
                frames.append(_key(row, timeline))
    return sequences


def _key(row: TimelineRow, timeline: Timeline) -> dict[str, Any]:
    assert row.box is not None
    x0, y0, x1, y1 = (float(value) for value in row.box)
    across, down = 100 / timeline.about.width, 100 / timeline.about.height
    place = {"x": x0 * across, "y": y0 * down, "width": (x1 - x0) * across, "height": (y1 - y0) * down}
    rounded = {name: round(value, 3) for name, value in place.items()}
    return {**_moment(row.time, timeline.about.rate), "enabled": True, "rotation": 0, **rounded}


def _moment(time: float, rate: float) -> dict[str, Any]:
    """Return a time as Label Studio counts it: frames from 1 on, at an even rate, and seconds."""
    return {"frame": round(time * rate) + 1, "time": round(time, 3)}
