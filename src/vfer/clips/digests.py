"""The sha256 of files and folders, cached by their size and times, so that large clips are read once."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

CREATE = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, state TEXT NOT NULL, digest TEXT NOT NULL)"
PUT = "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)"
SECONDS = 30.0  # how long one run waits for another to write


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files and their names, as 64 hex digits.

    Raises:
        OSError: If it cannot be read.
    """
    if path.is_dir():
        return _listing(path, digest)
    if not path.is_file():  # a pipe would never end
        raise FileNotFoundError(errno.ENOENT, "is not a regular file", str(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(path: Path) -> str:
    """Return what changes with a file, or with any file of a folder: inode, size and time of modification."""
    if path.is_dir():
        return _listing(path, _state)
    status = path.stat()
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _listing(folder: Path, tell: Callable[[Path], str]) -> str:
    lines = (f"{tell(file)} {file.relative_to(folder).as_posix()}\n" for file in sorted(folder.rglob("*")) if not file.is_dir())
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()


class Digests:
    """Hashes files and folders, and recalls the hash of those that have kept their inodes, sizes and times of modification.

    The memory is an SQLite file; one that cannot be read or written costs time, never a result. Safe for threads of
    one process, since a dict's single operations are, and for several processes.
    """

    def __init__(self, memory: Path | None) -> None:
        self._memory = memory
        self._known = self._load()
        self._new: dict[str, tuple[str, str]] = {}

    def __call__(self, path: Path) -> str:
        """Return what `digest` does."""
        name, state = os.fsencode(path.absolute()).decode("utf-8", "backslashreplace"), _state(path)
        entry = self._known.get(name)
        if entry and entry[0] == state:
            return entry[1]
        value = digest(path)
        self._new[name] = self._known[name] = state, value
        return value

    def save(self) -> None:
        """Write down what was hashed since."""
        if self._new:
            self._in_memory(lambda database: database.executemany(PUT, [(name, *value) for name, value in self._new.items()]).fetchall())
            self._new.clear()

    def _load(self) -> dict[str, tuple[str, str]]:
        rows = self._in_memory(lambda database: database.execute("SELECT path, state, digest FROM digests").fetchall())
        return {path: (state, value) for path, state, value in rows}

    def _in_memory(self, ask: Callable[[sqlite3.Connection], list[tuple[str, str, str]]]) -> list[tuple[str, str, str]]:
        if self._memory is None:
            return []
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._memory, timeout=SECONDS)) as database, database:
                database.execute(CREATE)
                return ask(database)
        except sqlite3.OperationalError:  # another run writes for long, or the disk is full
            return []
        except sqlite3.DatabaseError:
            self._memory.unlink(missing_ok=True)  # damaged
            return []
        except OSError:
            return []
