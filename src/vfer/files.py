"""Write the small files of a stage atomically, so that a killed stage leaves none half-written."""

import csv
import errno
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from vfer.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (*FULL, errno.EROFS)
"""What no file is to blame for: the disk, or the quota of it, is full, or it may only be read."""
LEFTOVER = ".tmp"
HASHED = 8  # digits
LONGEST = 200  # bytes of a file name that a temporary one keeps; file systems take 255
MOST_SHOWN = 10
SKIPPED = "skipped.txt"
"""The file that says why a stage has left a folder without tables; DVC warns of empty outputs."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; the file written there takes the place of `path` at the end, and is deleted after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_cut(path.name)}.{uuid4().hex[:12]}{LEFTOVER}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _cut(name: str) -> str:
    content = os.fsencode(name)
    return name if len(content) <= LONGEST else content[:LONGEST].decode("utf-8", "ignore")


def shortened(name: str) -> str:
    """Return a name of `LONGEST` bytes at most, which ends by a part of its hash where something is left out."""
    short = _cut(name)
    return name if short == name else f"{short[: -HASHED - 1]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:HASHED]}"


def sweep(path: Path) -> None:
    """Delete what a process that died left of `path` under way."""
    for leftover in path.parent.glob(f".{escape(_cut(path.name))}.*{LEFTOVER}"):
        leftover.unlink(missing_ok=True)


def sweep_folders(folders: Iterable[Path]) -> None:
    """Delete all that processes which died left in some folders."""
    for leftover in (path for folder in folders for path in folder.glob(f".*{LEFTOVER}")):
        leftover.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary stream; what is written to it takes the place of `path` at the end, and is on the disk then."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in place of the former one, atomically, and make its folder where needed."""
    with writing(path) as stream:
        stream.write(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON, indented, with the keys in their given order.

    Raises:
        ValueError: For NaN, which JSON has not.
    """
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file with a header, also where there are no rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


def read_figures(path: Path) -> list[dict[str, float]]:
    """Read a CSV file of numbers that `write_csv` wrote, such as a training's history."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def read_table(path: Path, schema: "pa.Schema", name: str, remedy: str) -> "pa.Table":
    """Read a Parquet file of a schema.

    Args:
        path: The file.
        schema: Its columns, none of which may lack a value unless the schema says so.
        name: What errors call the table.
        remedy: What they advise.

    Raises:
        DataError: The file is missing, or is no such table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path).cast(schema)  # which refuses other columns and empty values
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable {name}; {remedy}") from error


class Refusals:
    """The clips, or things of another kind, that a stage set aside, and why."""

    def __init__(self, reasons: Mapping[str, str], kind: str = "clip") -> None:
        self.reasons = dict(sorted(reasons.items()))
        self._kind = kind
        self._table = Path("refused.csv")

    def write(self, path: Path) -> None:
        """Write the table `clip, reason`, or what the kind is called."""
        self._table = path
        write_csv(path, [self._kind, "reason"], [{self._kind: name, "reason": reason} for name, reason in self.reasons.items()])

    def check(self, total: int, most: float, key: str, what: str, remedy: str) -> None:
        """Warn of the refused; raises `DataError`, saying `what` they are and how to `fix` it, above the share `most` of `key`."""
        for name, reason in list(self.reasons.items())[:MOST_SHOWN]:
            log.warning(f"{name}: {reason}")
        if len(self.reasons) > MOST_SHOWN:
            log.warning(f"and {len(self.reasons) - MOST_SHOWN} more {self._kind}s; {self._table} lists them all")
        if len(self.reasons) > most * total:
            raise DataError(f"{self._table}: {len(self.reasons)} of {total} {self._kind}s {what}, more than {key} ({most}); {remedy}")


def flatten(content: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings under dotted names, leaving out what is not a number."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            flat[f"{prefix}{name}"] = float(value)
    return flat
