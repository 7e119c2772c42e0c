"""Your own folder of clips: `<expression>/<subject>_*.mp4`, at any depth."""

from collections.abc import Iterator, Sequence

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused, safe
from vfer.data.readers.sequences import PICTURES


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each video; its folder names the expression, its name up to the first underscore the subject."""
    for entry in entries:
        subject, _, rest = entry.stem.partition("_")
        if entry.suffix not in VIDEOS:
            yield Passed(
                entry.origin, "pictures; `vfer data add sequences` takes folders of them" if entry.suffix in PICTURES else "no video"
            )
        elif not (subject and rest):
            yield Refused(entry.origin, "names no subject; name it <subject>_<anything>")
        else:
            yield FoundClip(
                name=f"{safe(entry.folder())}/{safe(entry.stem)}",
                suffix=entry.suffix,
                expression=entry.folder(),
                subject=subject,
                origin=entry.origin,
                save=entry.save,
            )
