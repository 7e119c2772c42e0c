"""List the files under the paths that a user gives, folders and zips alike; zips are read in place, never unpacked."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from vfer.data.readers.items import Entry, Refused
from vfer.errors import DataError

# What reading a file, or a member of a damaged, encrypted or exotic zip, can raise.
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError)
ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zst")
MAX_INDEX = 128 << 20
"""Bytes of a zip's index: about a million files, which take 1 GB of memory."""
MAX_RATIO, SMALL = 200, 16 << 20
"""A file in a zip of more than `SMALL` bytes may be so many times as large as it is packed; pictures and videos hardly shrink."""


def scan(paths: Sequence[Path]) -> tuple[list[Entry], list[Refused]]:
    """Return every file under the paths, in the order of the paths and sorted within each, and what cannot be used.

    Hidden files are left out. Symbolic links to folders are followed. A file that is reached twice is refused the second time.
    Raises `DataError` if a path does not exist, may not be looked at, or is an archive of another kind than zip.
    """
    entries: dict[str, Entry] = {}
    refusals: list[Refused] = []
    for path in paths:
        for item in _walk(_check_path(path)):
            if isinstance(item, Refused):
                refusals.append(item)
            elif item.origin in entries:
                refusals.append(Refused(item.origin, "is given twice"))
            else:
                entries[item.origin] = item
    return list(entries.values()), refusals


def local(path: Path) -> Entry:
    """Return the entry of one file of this machine."""
    return Entry(str(path), path.parts, partial(_open, path), path)


def _check_path(path: Path) -> Path:
    try:
        path.stat()
        resolved = path.resolve()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file or folder") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be accessed ({getattr(error, 'strerror', None) or error})") from error
    if resolved.is_file() and resolved.suffix.lower() in ARCHIVES:
        raise DataError(f"{path}: vfer reads folders and zips; unpack it ({_unpack(resolved)}) and give the folder")
    return resolved


def _unpack(path: Path) -> str:
    tools = {".rar": "unrar x", ".7z": "7z x", ".tar": "tar -xf", ".tgz": "tar -xf", ".tbz2": "tar -xf", ".txz": "tar -xf"}
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zst") and Path(path.stem).suffix.lower() == ".tar"
    return f"`{'tar -xf' if packed else tools.get(path.suffix.lower(), '7z x')} {path.name}`"


def _walk(path: Path) -> Iterator[Entry | Refused]:
    """Yield a file, or what a folder and those below it hold: the files of each first."""
    if not path.is_dir():
        yield from _file(path)
        return
    seen: dict[tuple[int, int], Path] = {}
    ahead = [path]
    while ahead:
        folder = ahead.pop()
        try:
            state = folder.stat()
            first = seen.setdefault((state.st_dev, state.st_ino), folder)
            paths = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
            folders = [child for child in paths if child.is_dir()]
        except OSError as error:
            yield Refused(str(folder), f"cannot be read ({error.strerror})")
            continue
        if first != folder:
            yield Refused(str(folder), f"leads to {first}, which was read already")
            continue
        for child in paths:
            if child not in folders:
                yield from _file(child)
        ahead.extend(reversed(folders))


def _file(path: Path) -> Iterator[Entry | Refused]:
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        yield Refused(str(path), f"is an archive; unpack it ({_unpack(path)})")
    elif suffix != ".zip":
        yield local(path)
    else:
        yield from _zip(path)


def _zip(path: Path) -> Iterator[Entry | Refused]:
    try:
        _check_index(path)
        archive = zipfile.ZipFile(path)  # not closed here: the entries need it, and it closes itself with the last of them
    except DataError as error:
        yield Refused(str(path), str(error))
        return
    except UNREADABLE as error:
        yield Refused(str(path), f"is not a readable zip ({error}); download it again")
        return
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        parts = tuple(part for part in info.filename.replace("\\", "/").split("/") if part)
        if parts and not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in parts):
            origin = f"{path}/{'/'.join(parts)}"
            if Path(parts[-1]).suffix.lower() in (".zip", *ARCHIVES):
                yield Refused(origin, f"is an archive inside a zip; unpack {path.name} and give the folder, or give this one alone")
            else:
                yield Entry(origin, (*path.with_suffix("").parts, *parts), partial(_member, archive, info))


def _check_index(path: Path) -> None:
    """Raise `DataError` if a zip's index is too large to be held; it is read whole."""
    with path.open("rb") as stream:
        end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]  # the only way to look before it is loaded
    if end and end[zipfile._ECD_SIZE] > MAX_INDEX:  # type: ignore[attr-defined]
        raise DataError("holds too many files; unpack it and give the folder")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.file_size > SMALL and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise DataError(f"unpacks to {info.file_size >> 20} MiB, {info.file_size // max(info.compress_size, 1)} times its size in the zip")
    return archive.open(info)


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise DataError("is not a regular file" if path.exists() else "is a broken link")
    return path.open("rb")
