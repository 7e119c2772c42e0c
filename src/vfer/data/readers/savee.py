"""SAVEE (Haq and Jackson, 2009): `AudioVisualClip/DC/a01.avi` or `DC_a01.avi`."""

import re
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused

NAME = re.compile(r"(?:(DC|JE|JK|KL)_?)?(sa|su|a|d|f|h|n)([0-9]{1,2})")
SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise"}


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each video; the speaker is in its name or is the folder, and letters and a number are the emotion and the sentence."""
    for entry in entries:
        match = NAME.fullmatch(entry.stem)
        speaker = (match and match[1]) or entry.folder()
        if entry.suffix == ".wav":
            yield Passed(entry.origin, "audio only")
        elif entry.suffix not in VIDEOS:
            yield Passed(entry.origin, "no video")
        elif not match or speaker not in SPEAKERS:
            yield Refused(entry.origin, "its name is not <DC|JE|JK|KL>/<a|d|f|h|n|sa|su><number>")
        else:
            name = f"{speaker}/{match[2]}{int(match[3]):02}"
            yield FoundClip(name, entry.suffix, EMOTIONS[match[2]], f"savee/{speaker}", entry.origin, entry.save)
