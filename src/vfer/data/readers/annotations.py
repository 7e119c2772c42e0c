"""Answers of `vfer timeline` that people have looked through: ELAN's `.eaf` and Label Studio's JSON, with the videos they are of.

Each segment becomes a clip: the part of the video, cut to the surroundings of the person's face. An answer that nobody has changed or
vouched for is not a label, and is skipped.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.data.readers.annotated import AnnotatedPart, AnnotatedVideo
from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused, readable, safe
from vfer.data.readers.video import encode
from vfer.errors import ClipError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FASTEST = 30.0  # frames a second of a clip
SHORTEST = 0.2  # seconds
AROUND = 0.6  # what a clip shows around the face, as a share of its size
UNCERTAIN = "uncertain"


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield a clip for each part that people have labelled."""
    videos = {entry.name: entry.local for entry in entries if entry.suffix in VIDEOS and entry.local}
    for entry in entries:
        if entry.suffix in VIDEOS:
            continue
        if entry.suffix not in (".eaf", ".json") or entry.name.endswith(".provenance.json"):
            yield Passed(entry.origin, "no annotations")
        elif entry.local is None:
            yield Refused(entry.origin, "lies in a zip; unpack it, since it names its video by its place")
        else:
            yield from _read(entry, entry.local, videos)


def _read(entry: Entry, path: Path, videos: dict[str, Path]) -> Iterator[Item]:
    from vfer.data.readers import elan, labelstudio

    try:
        annotated = elan.read(path, videos) if entry.suffix == ".eaf" else labelstudio.read(path, entry.read(), videos)
        for one in annotated:
            _check(one)
            yield from map(partial(_item, one), one.parts)
    except DataError as error:
        yield Refused(entry.origin, str(error))


def _check(one: AnnotatedVideo) -> None:
    from vfer.clips.digests import digest

    if not one.video.is_file():
        raise DataError(f"its video {readable(one.video.name)} is not where it says; give the video too")
    if one.sha256 and digest(one.video) != one.sha256:
        raise DataError(f"its video {readable(one.video.name)} differs from the one that was analysed; give the original")


def _item(one: AnnotatedVideo, part: AnnotatedPart) -> Item:
    origin = f"{one.origin}: {part.person} {part.start:.3f}-{part.end:.3f}"
    expression = part.expression.strip().lower()
    if part.reason or expression in ("", UNCERTAIN):
        return Passed(origin, part.reason or "no expression")
    if part.end - part.start < SHORTEST:
        return Refused(origin, f"is shorter than {SHORTEST:g} s")
    stem = safe(one.video.stem)
    unnamed = part.person[:1] == "P" and part.person[1:].isdecimal()
    subject = f"{stem}-{part.person}" if unnamed else part.person
    name = f"{stem}/{safe(part.person)}-{round(1000 * part.start):08d}"
    return FoundClip(
        name, ".mkv", expression, subject, origin, partial(cut, one.video, part), recording=f"{stem}-{part.person}", framing="scene"
    )


def cut(video: Path, part: AnnotatedPart, path: Path) -> None:
    """Write a part of a video as a lossless grey clip that shows the face and its surroundings; raise `ClipError`."""
    from vfer.video import decode

    about = decode.probe(video)
    rate = min(about.rate, FASTEST)
    left, top, right, bottom = _region(part.boxes, about.width, about.height)
    frames = decode.frames(video, rate, start=part.start, end=part.end)
    crops = (frame.grey[top:bottom, left:right] for frame in frames)
    try:
        encode(path, crops, rate)
    except StopIteration as error:
        raise ClipError("has no frame in its video") from error


def _region(boxes: "NDArray[np.float32] | None", width: int, height: int) -> tuple[int, int, int, int]:
    """Return what holds all boxes of a face and its surroundings, within the picture: left, top, right and bottom."""
    import numpy as np

    if boxes is None or not len(boxes):
        return 0, 0, width, height
    room = AROUND * float(np.median(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])))
    left, top = (max(int(value - room), 0) for value in boxes[:, :2].min(axis=0))
    right, bottom = (min(int(value + room) + 1, most) for value, most in zip(boxes[:, 2:].max(axis=0), (width, height), strict=True))
    return left, top, max(right, left + 2), max(bottom, top + 2)
