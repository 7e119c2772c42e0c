"""DFEW (Jiang et al., 2020): numbered clips or folders of their frames, and the tables `set_1.csv` that label them."""

import csv
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused
from vfer.data.readers.scan import UNREADABLE
from vfer.data.readers.sequences import PICTURES, Pictures, ordered
from vfer.data.readers.text import lines
from vfer.errors import DataError

EMOTIONS = dict(enumerate(("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"), start=1))
COLUMNS = ("video_name", "label")


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each clip that a table labels, as a video or, cropped to the face, as a folder of frames; each is a subject of its own."""
    labels: dict[int, str] = {}
    videos: dict[int, Entry] = {}
    frames: dict[int, list[Entry]] = {}
    for entry in entries:
        name = entry.folder() if entry.suffix in PICTURES else entry.stem
        if entry.suffix == ".csv":
            try:
                labels |= _labels(entry)
            except (*UNREADABLE, csv.Error, DataError) as error:
                yield Refused(entry.origin, str(error))
        elif entry.suffix not in (*VIDEOS, *PICTURES):
            yield Passed(entry.origin, "neither a clip nor a table of labels")
        elif not (name.isascii() and name.isdigit()):
            yield Refused(entry.origin, "its name or folder is not a number")
        elif entry.suffix in VIDEOS:
            videos[int(name)] = entry
        else:
            frames.setdefault(int(name), []).append(entry)
    if not labels and (videos or frames):
        yield Refused("DFEW", "no table of labels was given; give EmoLabel_DataSplit (train and test, set_1.csv) with the clips")
        return
    for number in sorted(videos.keys() | frames.keys()):
        yield _clip(number, labels.get(number), videos.get(number), frames.get(number, []))


def _clip(number: int, expression: str | None, video: Entry | None, frames: list[Entry]) -> Item:
    first = video or frames[0]
    if expression is None:
        return Passed(first.origin, "clip without a single label")
    name = f"{number:05}"
    if video:
        return FoundClip(name, video.suffix, expression, f"dfew/{name}", video.origin, video.save)
    pictures = Pictures(tuple(ordered(frames)))
    return FoundClip(name, pictures.suffix, expression, f"dfew/{name}", first.origin, pictures, framing="face")


def _labels(entry: Entry) -> dict[int, str]:
    with lines(entry) as text:
        rows = csv.DictReader(text)
        if absent := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
            raise DataError(f"has no column {', '.join(absent)}; expected {', '.join(COLUMNS)}")
        try:
            return {int(row["video_name"]): EMOTIONS[int(row["label"])] for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"holds a label that is not between 1 and 7, or a name that is not a number: {error}") from error
