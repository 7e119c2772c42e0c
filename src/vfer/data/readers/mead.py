"""MEAD (Wang et al., 2020): `M003/video/front/angry/level_1/001.mp4`; one performance is filmed from several sides."""

import re
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused

ACTOR = re.compile(r"[MW][0-9]{3}")
LEVEL = re.compile(r"level_[1-3]")


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each video; the views of one performance share a recording."""
    for entry in entries:
        actor, video, view, emotion, level = (entry.folder(up) for up in (5, 4, 3, 2, 1))
        if entry.suffix in (".m4a", ".wav"):
            yield Passed(entry.origin, "audio only")
        elif entry.suffix not in VIDEOS:
            yield Passed(entry.origin, "no video")
        elif not (ACTOR.fullmatch(actor) and video == "video" and LEVEL.fullmatch(level) and entry.stem.isascii()):
            yield Refused(entry.origin, "lies in no <actor>/video/<view>/<emotion>/level_<1-3>/ folder")
        else:
            recording = f"{emotion}_{level}_{entry.stem}"
            yield FoundClip(
                name=f"{actor}/{view}_{recording}",
                suffix=entry.suffix,
                expression=emotion,
                subject=f"mead/{actor}",
                recording=f"mead/{actor}/{recording}",
                origin=entry.origin,
                save=entry.save,
            )
