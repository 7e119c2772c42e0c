"""Delete the entries of a clip store that have not been used for long, or that exceed a limit."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vfer.errors import DataError
from vfer.files import LEFTOVER

DAY = 86_400


@dataclass(frozen=True)
class StoreEntry:
    """One file of a store: when it was last used (seconds since 1970), its bytes, and whether DVC's cache holds it, too."""

    path: Path
    step: str
    used: float
    size: int
    shared: bool


def entries(root: Path) -> list[StoreEntry]:
    """Return the entries of a store, the one unused for longest first.

    Raises:
        DataError: If there is no store.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a clip store; `dvc repro` creates one")
    all_entries = []
    for path in root.glob("*/??/*"):
        try:
            state = path.stat()
        except FileNotFoundError:  # pruned by another just now
            continue
        all_entries.append(StoreEntry(path, path.parts[-3], state.st_atime, state.st_size, state.st_nlink > 1))
    return sorted(all_entries, key=lambda entry: (entry.used, entry.path))


def choose(stored: Sequence[StoreEntry], days: float, most: int | None, now: float) -> list[StoreEntry]:
    """Return the entries to delete: unused for `days`, then the longest unused until the others hold at most `most` bytes.

    What a run has under way, or left when it was killed, is kept for a day.
    """
    old = [entry for entry in stored if now - entry.used > (1 if entry.path.suffix == LEFTOVER else days) * DAY]
    recent = [entry for entry in stored if entry not in set(old) and entry.path.suffix != LEFTOVER]
    excess = sum(entry.size for entry in recent) - most if most is not None else 0
    for entry in recent:
        if excess <= 0:
            break
        old.append(entry)
        excess -= entry.size
    return old


def prune(root: Path, days: float, most: int | None) -> list[StoreEntry]:
    """Delete what `choose` names and return it; a run under way then makes again what it misses.

    Raises:
        DataError: If there is no store, or an entry cannot be deleted.
    """
    gone = choose(entries(root), days, most, time.time())
    for entry in gone:
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{entry.path}: cannot be deleted ({error.strerror}); ask its owner, or run as its owner") from error
    return gone
