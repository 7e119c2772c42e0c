"""Your own manifest: a CSV file that lists clips, with paths relative to it."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from vfer.data.readers.items import VIDEOS, Entry, FoundClip, Item, Passed, Refused, safe
from vfer.data.readers.scan import UNREADABLE, local
from vfer.data.readers.sequences import PICTURES, Pictures
from vfer.data.readers.tables import tool_at
from vfer.data.readers.text import lines
from vfer.errors import ClipError, DataError

REQUIRED = ("path", "expression", "subject")
TABLE = ".csv"
DELIMITERS = (",", ";", "\t", "|")
Row = dict[str, str]


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield the clip of each row; `recording`, `clip`, `source` and `framing` are optional columns.

    A path names a video, a folder of numbered pictures, or a feature table. Columns are separated by commas, semicolons, tabs or bars,
    and their names may have any case. A table that cannot be trusted, such as one with an open quote, is refused whole.
    """
    for entry in entries:
        if entry.suffix not in (".csv", ".tsv", ".txt"):
            yield Passed(entry.origin, "no CSV file")
        elif entry.local is None:
            yield Refused(entry.origin, "lies in a zip; unpack it, since its paths are relative to it")
        else:
            try:
                rows = _rows(entry)
            except UnicodeDecodeError as error:
                yield Refused(entry.origin, f"is not a CSV file in UTF-8 (byte {error.start}); save it as UTF-8")
            except (*UNREADABLE, csv.Error, DataError) as error:
                yield Refused(entry.origin, str(error))
            else:
                yield from (_item(row, entry.local.parent, f"{entry.origin}:{line}") for line, row in rows)


def _rows(entry: Entry) -> list[tuple[int, Row]]:
    """Return the rows of a manifest with their lines; raise `DataError`, or `csv.Error`, where the table cannot be trusted."""
    with lines(entry) as text:
        head = next(text, "")
        first = 1
        if head.lower().startswith("sep="):  # Excel's
            head, first = next(text, ""), 2
        delimiter = max(DELIMITERS, key=lambda mark: len(set(_columns(head, mark)) & set(REQUIRED)))
        columns = _columns(head, delimiter)
        if absent := [column for column in REQUIRED if column not in columns]:
            raise DataError(f"has no column {', '.join(absent)}; its first line is {head.strip()[:80]!r}, expected {', '.join(REQUIRED)}")
        if twice := [column for column, count in Counter(columns).items() if column and count > 1]:
            raise DataError(f"has two columns {twice[0]}; rename or remove one")
        reader = csv.reader(chain([head], text), delimiter=delimiter)
        next(reader)
        return list(_read(reader, columns, first))


def _read(reader: Any, columns: list[str], first: int) -> Iterator[tuple[int, Row]]:
    before = reader.line_num
    while True:
        line = before + first
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"has no end to a quote that is opened in line {line} ({error}); close it, or remove it") from error
        if reader.line_num > before + 1:
            raise DataError(f"has an open quote in line {line}, which takes in {reader.line_num - before} lines; close it, or remove it")
        before = reader.line_num
        if not any(value.strip() for value in values):
            continue
        if len(values) > len(columns):
            raise DataError(f"has {len(values)} values in line {line}, more than columns ({len(columns)}); quote the one with a comma")
        values += [""] * (len(columns) - len(values))
        yield line, {column: value.strip() for column, value in zip(columns, values, strict=True) if column}


def _columns(head: str, delimiter: str) -> list[str]:
    return [column.strip().lower() for column in next(csv.reader([head], delimiter=delimiter), [])]


def _item(row: Row, base: Path, where: str) -> Item:
    for column in REQUIRED:
        if not row[column]:
            return Refused(where, f"{column} is empty")
    framing = row.get("framing") or None
    if framing not in (None, "scene", "face"):
        return Refused(where, f"framing {framing!r} is unknown; expected scene or face")
    try:
        path = _path(base, row["path"])
        pictures = Pictures.of(path) if path.is_dir() else None
        there = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        return Refused(where, f"{row['path'][:80]}: no such file ({getattr(error, 'strerror', None) or error})")
    if not there:
        return Refused(where, f"{row['path']}: no such file")
    file, table = local(path), None
    if path.suffix.lower() == TABLE:
        try:
            table = tool_at(path)
        except ClipError as error:
            return Refused(where, f"{row['path']}: {error}")
    if pictures is None and table is None and file.suffix not in VIDEOS:
        return Refused(where, f"{row['path']} is not a video; expected {', '.join(VIDEOS)}, {TABLE}, or a folder of pictures")
    if pictures is not None and not pictures.entries:
        return Refused(where, f"{row['path']}: holds no numbered pictures; expected {', '.join(PICTURES)}")
    return FoundClip(
        name=_name(row, base, path, folder=pictures is not None),
        suffix=table.suffix if table else pictures.suffix if pictures else file.suffix,
        expression=row["expression"],
        subject=row["subject"],
        recording=row.get("recording") or None,
        origin=file.origin,
        save=file.save if pictures is None else pictures,
        framing=framing,  # type: ignore[arg-type]  # checked above
        source=row.get("source") or None,
    )


def _path(base: Path, text: str) -> Path:
    """Return the file of a row; Windows' separators are read, too."""
    path = (base / text).resolve()
    if not path.exists() and "\\" in text:
        return (base / text.replace("\\", "/")).resolve()
    return path


def _name(row: Row, base: Path, path: Path, *, folder: bool) -> str:
    """Return the name of a clip: its own, or its path relative to the manifest, or from the root where it lies elsewhere."""
    own_name = row.get("clip", "").removeprefix(f"{row.get('source')}/")
    if not own_name:
        text = Path(row["path"].replace("\\", "/"))
        inside = base.resolve()
        text = path.relative_to(inside) if text.is_absolute() and path.is_relative_to(inside) else text
        own_name = str(text if folder else text.with_suffix(""))
    return "/".join(part for part in (safe(part) for part in Path(own_name).parts) if part)
