"""A manifest of one's own: a CSV file that lists clips, their paths relative to it."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from vfer.data.readers.found import VIDEOS, Entry, Found, FoundClip, Passed, Refused, safe
from vfer.data.readers.scan import local

REQUIRED = ("path", "expression", "subject")


def read(entries: Sequence[Entry]) -> Iterator[Found]:
    """Yields the clip of each row; `recording`, `clip`, `source` and `framing` are optional columns."""
    for entry in entries:
        if entry.suffix != ".csv":
            yield Passed(entry.origin, "no CSV file")
        elif entry.local is None:
            yield Refused(entry.origin, "lies in a zip; unpack it, since its paths are relative to it")
        else:
            yield from _rows(entry, entry.local.parent)


def _rows(entry: Entry, base: Path) -> Iterator[Found]:
    try:
        reader = csv.DictReader(io.StringIO(entry.read().decode("utf-8-sig"), newline=""))
        columns = [(column or "").strip() for column in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        yield Refused(entry.origin, f"is no CSV file in UTF-8: {error}")
        return
    if missing := [column for column in REQUIRED if column not in columns]:
        yield Refused(entry.origin, f"has no column {', '.join(missing)}; expected {', '.join(REQUIRED)}")
        return
    reader.fieldnames = columns
    for row in reader:
        yield _row({column: (row[column] or "").strip() for column in columns if column}, base, f"{entry.origin}:{reader.line_num}")


def _row(row: dict[str, str], base: Path, where: str) -> Found:
    for column in REQUIRED:
        if not row[column]:
            return Refused(where, f"{column} is empty")
    file = local((base / row["path"]).resolve())
    framing = row.get("framing") or "scene"
    if framing not in ("scene", "face"):
        return Refused(where, f"framing {framing!r} is unknown; expected scene or face")
    if file.suffix not in VIDEOS:
        return Refused(where, f"{row['path']} is no video; expected {', '.join(VIDEOS)}")
    if not file.local or not file.local.is_file():
        return Refused(where, f"{row['path']}: no such file")
    return FoundClip(
        name=_name(row, file),
        suffix=file.suffix,
        expression=row["expression"],
        subject=row["subject"],
        recording=row.get("recording") or None,
        origin=file.origin,
        save=file.save,
        framing="face" if framing == "face" else "scene",
        source=row.get("source") or None,
    )


def _name(row: dict[str, str], file: Entry) -> str:
    name = row.get("clip") or str(Path(row["path"]).with_suffix("") if not Path(row["path"]).is_absolute() else file.stem)
    name = name.removeprefix(f"{row.get('source')}/")
    return "/".join(part for part in (safe(part) for part in Path(name).parts) if part)
