"""CK+ (Lucey et al., 2010): the 48x48 set, and the full sequences with their emotion labels."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.data.readers.found import Entry, Found, FoundClip, Passed, Refused
from vfer.data.readers.scan import UNREADABLE
from vfer.data.readers.video import encode
from vfer.errors import ClipError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAME = re.compile(r"(S\d+)_(\d+)_(\d+)\.png")
LABEL = re.compile(r"(S\d+)_(\d+)_\d+_emotion\.txt")
EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
SIDE = 48


def read(entries: Sequence[Entry]) -> Iterator[Found]:
    """Yields one clip a sequence: face framing for `<expression>/S010_004_00000017.png`, scene framing for `S010/004/*.png`."""
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
            yield Passed(entry.origin, "neither frame nor emotion label")
    for (subject, number, folder), frames in sorted(sequences.items()):
        if folder != number:
            yield _clip(subject, number, folder, frames, face=True)
        elif (subject, number) in labels:
            yield _labelled(subject, number, labels[subject, number], frames)
        else:
            yield Passed(frames[0].origin, "sequence without an emotion label")


def _labelled(subject: str, number: str, label: Entry, frames: list[Entry]) -> Found:
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
        save=partial(_save, sorted(frames, key=lambda entry: int(entry.stem.split("_")[2])), face),
        framing="face" if face else "scene",
    )


def _save(entries: list[Entry], face: bool, path: Path) -> None:
    frames = [_frame(entry) for entry in entries]
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        raise ClipError("its frames differ in size")
    if face and shapes != {(SIDE, SIDE)}:
        raise ClipError(f"its frames are not {SIDE}x{SIDE}; full sequences are expected as S010/001/*.png beside their emotion labels")
    encode(path, frames)


def _frame(entry: Entry) -> "NDArray[np.uint8]":
    from vfer.data.stills import grey

    frame = grey(entry.read())
    if frame is None:
        raise ClipError(f"frame {entry.name} does not decode")
    return frame
