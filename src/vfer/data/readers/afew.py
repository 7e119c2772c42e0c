"""AFEW (Dhall et al., 2012): `Train_AFEW/Angry/000046280.avi`; the clips of films, whose people nobody named."""

from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, safe


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each video; its folder names the expression, and each clip is a subject of its own."""
    for entry in entries:
        if entry.suffix not in VIDEOS:
            yield Passed(entry.origin, "no video")
        else:
            name = safe(entry.stem)
            yield FoundClip(f"{safe(entry.folder())}/{name}", entry.suffix, entry.folder(), f"afew/{name}", entry.origin, entry.save)
