"""Turn the tables of a dataset into parts of the feature cache, one clip at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vfer.data.catalogue import manifest
from vfer.data.tables import read
from vfer.data.tables.reading import Reading
from vfer.data.tables.tool import TOOLS, Tool, tool_of
from vfer.errors import ClipError, DataError
from vfer.features import cache


@dataclass(frozen=True)
class TableJob:
    """A clip's table, the part of the cache that is made of it, and how it is read, which the recipe holds, too."""

    clip: str
    source: Path
    target: Path
    how: Reading
    about: str = ""


@dataclass(frozen=True)
class Counts:
    """The frames of a part, and how many of them show a face."""

    frames: int
    shown: int


def tables_of(clips: Path, name: str) -> dict[str, Path]:
    """Return the tables of a tool that a manifest lists, by clip.

    Raises:
        DataError: If there is none.
    """
    tool = TOOLS[name]
    tables = {clip.clip: clips.parent / clip.path for clip in manifest.read(clips) if tool_of(clip.path) == tool}
    if not tables:
        raise DataError(f"{clips}: lists no tables of {tool.title}; run `vfer data add {name} FOLDER`, or set features.source to another")
    return tables


def common_units(tables: Iterable[Path], tool: Tool, threads: int) -> list[str]:
    """Return the action units that most tables have; tables that cannot be read do not count, and if none can, there are none."""
    with ThreadPoolExecutor(threads) as pool:
        sets = Counter(units for units in pool.map(lambda path: _units(path, tool), tables) if units)
    return list(max(sorted(sets.items()), key=lambda item: (item[1], len(item[0])), default=((), 0))[0])


def _units(path: Path, tool: Tool) -> tuple[str, ...]:
    try:
        return tuple(read.units(path, tool))
    except ClipError:
        return ()  # the work on the clip says why


def work(job: TableJob) -> Counts:
    """Write one clip's part; raise `ClipError` if its table cannot be used."""
    sequence = read.read(job.source, job.clip, job.how)
    cache.write_part(job.target, [sequence])
    return _counts([sequence])


def counts_of(path: Path) -> Counts:
    """Return what `work` returned when it wrote a part."""
    return _counts(cache.read_part(path, ""))


def _counts(pieces: Iterator[cache.Sequence] | list[cache.Sequence]) -> Counts:
    numbers = [(len(piece.status), int((piece.status != "none").sum())) for piece in pieces]
    return Counts(sum(frames for frames, _ in numbers), sum(shown for _, shown in numbers))
