"""CREMA-D (Cao et al., 2014): `1001_DFA_ANG_XX.flv` and the like, at any depth."""

import re
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused

NAME = re.compile(r"(1[0-9]{3})_[A-Z]{3}_([A-Z]{3})_(LO|MD|HI|XX|X)")
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
SOUNDS = (".mp3", ".wav")


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each video; its name gives the actor, the sentence, the emotion and the level."""
    for entry in entries:
        match = NAME.fullmatch(entry.stem)
        if entry.suffix in SOUNDS:
            yield Passed(entry.origin, "audio only")
        elif entry.suffix not in VIDEOS:
            yield Passed(entry.origin, "no video")
        elif not match or match[2] not in EMOTIONS:
            yield Refused(entry.origin, "its name is not <actor>_<sentence>_<ANG|DIS|FEA|HAP|NEU|SAD>_<LO|MD|HI|XX>")
        else:
            yield FoundClip(entry.stem, entry.suffix, EMOTIONS[match[2]], f"cremad/{match[1]}", entry.origin, entry.save)
