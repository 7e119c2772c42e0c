"""Feature tables of OpenFace and py-feat: a CSV file per clip, named and laid out like the video that it was made from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vfer.data.readers import cremad, folder, mead, ravdess, savee
from vfer.data.readers.items import Entry, FoundClip, Item, Passed, safe
from vfer.data.tables.tool import TOOLS, Tool
from vfer.errors import ClipError

VIDEO = ".mp4"
LAYOUTS: tuple[Callable[[Sequence[Entry]], Iterable[Item]], ...] = (ravdess.read, cremad.read, savee.read, mead.read, folder.read)
"""Readers of single videos; the first one that knows the name of a video says what it shows."""


def reader(name: str) -> Callable[[Sequence[Entry]], Iterator[Item]]:
    """Return the reader of a tool's tables."""

    def read(entries: Sequence[Entry]) -> Iterator[Item]:
        """Yield each table; a clip of the dataset with the same stem says what it shows, or else its own name and folders do."""
        for entry in entries:
            yield Passed(entry.origin, "no CSV file") if entry.suffix != ".csv" else _clip_of(entry, TOOLS[name])

    return read


def tool_at(path: Path) -> Tool:
    """Return the tool that made a table; raise `ClipError`, without the path, if the file is none."""
    reasons = {}
    for tool in TOOLS.values():
        try:
            check(path, tool)
        except ClipError as error:
            reasons[tool.title] = str(error)
        else:
            return tool
    raise ClipError(f"is not a feature table ({'; '.join(f'{title}: {reason}' for title, reason in reasons.items())})")


def check(path: Path, tool: Tool) -> None:
    """Raise `ClipError`, without the path, if a file is not a table of the tool."""
    from vfer.data.tables.read import units

    try:
        units(path, tool)
    except ClipError as error:
        raise ClipError(str(error).removeprefix(f"{path}: ")) from error


def _clip_of(entry: Entry, tool: Tool) -> FoundClip:
    video = replace(entry, parts=(*entry.parts[:-1], f"{entry.stem}{VIDEO}"))
    video_clip = next((clip for layout in LAYOUTS for clip in layout([video]) if isinstance(clip, FoundClip)), None)
    if video_clip is None:
        video_clip = FoundClip(safe(entry.stem), VIDEO, "", "", entry.origin, entry.save)
    return replace(video_clip, suffix=tool.suffix, twin=entry.stem)
