"""List the videos that a command is given: files, folders, patterns, and CSV files."""

import csv
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vfer.data.readers.items import VIDEOS
from vfer.errors import DataError

PATTERN = set("*?[")
MAX_HEADER = 1 << 20
"""Characters of a CSV file's first line."""


@dataclass(frozen=True)
class Input:
    """One video, and the columns of the table that lists it, if any."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def clip(self) -> str:
        """Its path as text that can be printed and stored anywhere."""
        return printable(self.path)


def printable(path: Path | str) -> str:
    """Return a path as valid Unicode; bytes of a name that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def videos(arguments: Sequence[str], suffixes: Sequence[str] = VIDEOS) -> list[Input]:
    """Return the videos in the order of the arguments, those of a folder or a pattern sorted, each once.

    A path that does not exist is listed as a video, so that it is reported beside the others. With other `suffixes`, those of feature
    tables, the clips are such files, and a CSV file without a column path is one itself.
    Raises `DataError` if a folder holds no video, a pattern matches nothing, or a table lists none.
    """
    inputs: dict[str, Input] = {}
    for argument in arguments:
        for one in _expand(argument, suffixes):
            inputs.setdefault(os.path.abspath(one.path), one)  # noqa: PTH100  # resolve() would follow links, which may loop
    return list(inputs.values())


def _expand(argument: str, suffixes: Sequence[str]) -> list[Input]:
    path = Path(argument)
    if os.path.isdir(argument):  # noqa: PTH112  # Path.is_dir raises for names that are too long
        inputs = [Input(video) for video in _within(path, suffixes)]
        if not inputs:
            raise DataError(f"{printable(argument)}: holds no video; expected files ending in {', '.join(suffixes)}")
        return inputs
    if PATTERN & set(argument) and not os.path.exists(argument):  # noqa: PTH110
        matches = [one for match in sorted(glob.glob(argument, recursive=True)) for one in _matched(Path(match), suffixes)]  # noqa: PTH207
        if not matches:
            raise DataError(f"{printable(argument)}: matches no video")
        return matches
    if path.suffix.lower() == ".csv" and (path.suffix.lower() not in suffixes or _lists(path)):
        return _table(path)
    return [Input(path)]


def _matched(path: Path, suffixes: Sequence[str]) -> list[Input]:
    if path.is_dir():
        return [Input(video) for video in _within(path, suffixes)]
    return [Input(path)] if path.suffix.lower() in suffixes else []


def _lists(path: Path) -> bool:
    """Return whether the first line of a CSV file names a column path."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            return "path" in next(csv.reader([stream.readline(MAX_HEADER)]), [])
    except (OSError, csv.Error):
        return False  # what is wrong with it is reported with its answer


def _within(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(parent, name)


def _table(path: Path) -> list[Input]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if "path" not in (reader.fieldnames or ()):
                raise DataError(f"{path}: has no column path; expected a CSV file that lists videos by their path")
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{printable(path)}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not rows:
        raise DataError(f"{path}: lists no videos")
    return [Input(path.parent / row["path"], row) for row in rows]
