"""CK+ (Lucey et al., 2010): the 48x48 set, and the full sequences with their emotion labels."""

import re
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import Entry, FoundClip, Item, Passed, Refused
from vfer.data.readers.scan import UNREADABLE
from vfer.data.readers.sequences import Pictures, ordered

FRAME = re.compile(r"(S\d+)_(\d+)_(\d+)\.png")
LABEL = re.compile(r"(S\d+)_(\d+)_\d+_emotion\.txt")
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
SIDE = 48


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield one clip a sequence: face framing for `<expression>/S010_004_00000017.png`, scene framing for `S010/004/*.png`."""
    labels: dict[tuple[str, str], Entry] = {}
    sequences: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if match := LABEL.fullmatch(entry.name):
            labels[match[1], match[2]] = entry
        elif match := FRAME.fullmatch(entry.name):
            sequences.setdefault((match[1], match[2], entry.folder()), []).append(entry)
        elif entry.suffix == ".png":
            yield Refused(entry.origin, "its name is not S<actor>_<sequence>_<frame>.png")
        else:
            yield Passed(entry.origin, "neither a frame nor an emotion label")
    for (subject, number, folder), frames in sorted(sequences.items()):
        if folder != number:
            yield _clip(subject, number, folder, frames, face=True)
        elif (subject, number) in labels:
            yield _sequence(subject, number, labels[subject, number], frames)
        else:
            yield Passed(frames[0].origin, "sequence without an emotion label")


def _sequence(subject: str, number: str, label: Entry, frames: list[Entry]) -> Item:
    try:
        expression = EMOTIONS[int(float(label.read()))]
    except (*UNREADABLE, ValueError, IndexError):
        return Refused(label.origin, "holds no emotion label from 0 to 7")
    return _clip(subject, number, expression, frames, face=False)


def _clip(subject: str, number: str, expression: str, frames: list[Entry], *, face: bool) -> FoundClip:
    return FoundClip(
        name=f"{subject}_{number}",
        suffix=".mkv",
        expression=expression,
        subject=f"ckplus/{subject}",
        recording=f"ckplus/{subject}_{number}",
        origin=frames[0].origin,
        save=Pictures(tuple(ordered(frames)), side=SIDE if face else None),
        framing="face" if face else None,
    )
