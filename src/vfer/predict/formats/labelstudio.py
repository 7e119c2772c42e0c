"""A timeline as a task for Label Studio: one box per segment, which moves with the face and is labelled with the expression."""

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vfer.files import write_bytes, writing
from vfer.predict.inputs import printable
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.timeline.timeline import Timeline

EVERY = 0.5  # seconds between two key frames of a box
MOVE = 5  # numbers of a key frame
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
    data = {"video": printable(timeline.video.name), "vfer": timeline.provenance}
    with writing(path) as stream:
        # One result at a time, since those of a long film take a hundred times the memory of their boxes.
        model = timeline.provenance["model"]
        stream.write(f'[{{"data": {_json(data)},\n"predictions": [{{"model_version": {_json(model)},\n"result": ['.encode())
        stream.writelines((",\n" * bool(place) + _json(result)).encode() for place, result in enumerate(_results(timeline)))
        stream.write(b"]}]}]\n")
    labels = "\n".join(f'    <Label value="{name}"/>' for name in (*timeline.classes, UNCERTAIN))
    write_bytes(path.with_suffix(".xml"), CONFIG.format(labels=labels, rate=rate).encode())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _results(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """Yield the segments in which the face has a box."""
    rate = timeline.about.rate
    for number, (segment, moves) in enumerate(zip(timeline.segments, _moves(timeline), strict=True)):
        if moves:
            sequence = [_key(move, timeline) for move in zip(*[iter(moves)] * MOVE, strict=True)]
            yield {
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


def _moves(timeline: Timeline) -> "list[array[float]]":
    """Return the key frames of each segment's box, one after the other, each of `MOVE` numbers: its time and the box's corners."""
    sequences: list[array[float]] = [array("d") for _ in timeline.segments]
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
            moves = sequences[number]
            if not moves or row.time - moves[-MOVE] >= EVERY:
                moves.extend((row.time, *map(float, row.box)))
    return sequences


def _key(move: Sequence[float], timeline: Timeline) -> dict[str, Any]:
    """Return a key frame as Label Studio has it, in per cent of the picture."""
    time, x0, y0, x1, y1 = move
    across, down = 100 / timeline.about.width, 100 / timeline.about.height
    place = {"x": x0 * across, "y": y0 * down, "width": (x1 - x0) * across, "height": (y1 - y0) * down}
    rounded = {name: round(value, 3) for name, value in place.items()}
    return {**_moment(time, timeline.about.rate), "enabled": True, "rotation": 0, **rounded}


def _moment(time: float, rate: float) -> dict[str, Any]:
    """Return a time as Label Studio counts it: frames from 1 on, at an even rate, and seconds."""
    return {"frame": round(time * rate) + 1, "time": round(time, 3)}
