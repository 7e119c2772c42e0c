"""Lists the files under the paths that a user gives, folders and zips alike; zips are read in place, never unpacked."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from vfer.data.readers.found import Entry, Refused
from vfer.errors import DataError

# What reading a file, or a member of a damaged, encrypted or exotic zip, can raise.
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


def scan(paths: Sequence[Path]) -> tuple[list[Entry], list[Refused]]:
    """Returns every file under the paths, in the order of the paths and sorted within each, and the paths that cannot be used.

    Hidden files are left out. A file that is reached twice is refused the second time.
    Raises `DataError` where a path does not exist.
    """
    entries: dict[str, Entry] = {}
    refused: list[Refused] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        for found in _walk(path.resolve()):
            if isinstance(found, Refused):
                refused.append(found)
            elif found.origin in entries:
                refused.append(Refused(found.origin, "is given twice"))
            else:
                entries[found.origin] = found
    return list(entries.values()), refused


def local(path: Path) -> Entry:
    """Returns the entry of one file of this machine."""
    return Entry(str(path), path.parts, partial(_open, path), path)


def _walk(path: Path) -> Iterator[Entry | Refused]:
    if path.is_dir():
        for folder, folders, files in os.walk(path, onerror=_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield from _file(Path(folder, name))
    else:
        yield from _file(path)


def _file(path: Path) -> Iterator[Entry | Refused]:
    if path.suffix.lower() != ".zip":
        yield local(path)
        return
    try:
        archive = zipfile.ZipFile(path)  # not closed here: the entries need it, and it closes itself with the last of them
    except UNREADABLE as error:
        yield Refused(str(path), f"is no readable zip ({error}); download it again")
        return
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        parts = tuple(part for part in info.filename.replace("\\", "/").split("/") if part)
        if parts and not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts):
            yield Entry(f"{path}/{'/'.join(parts)}", (*path.with_suffix("").parts, *parts), partial(archive.open, info))


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
