"""The clips' manifest, `clips.csv`: one row per clip, its paths relative to the manifest."""

import csv
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from vfer.errors import DataError
from vfer.files import write_csv

Framing = Literal["scene", "face"]
SAMPLE = "sample"
"""Source of the embedded sample's clips and stills, which give way to real data."""
FILE = "clips.csv"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, order=True)
class Clip:
    """One clip: a video file, its label, and who and what it shows.

    `clip` names it everywhere (`<source>/<name>`); `recording` names the performance, which several files may share. Subjects and
    recordings are under their source's name, as `full_name` gives it, since `01` of two sources is two people;
    `framing` is `scene` where a face must be found, and `face` where each frame already is a face crop.
    """

    clip: str
    path: str
    expression: str
    subject: str
    recording: str
    source: str
    framing: Framing = "scene"


COLUMNS = tuple(field.name for field in fields(Clip))
REQUIRED = COLUMNS[:-1]


def read(path: Path) -> list[Clip]:
    """Read and check a manifest; return its clips sorted by name.

    Raises `DataError`, with the line, where a column or a value is missing, a name is unsafe or appears twice,
    or the file has no rows.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            absent = [column for column in REQUIRED if column not in (reader.fieldnames or ())]
            if absent:
                raise DataError(f"{path}: has no column {', '.join(absent)}; expected {', '.join(REQUIRED)}")
            clips = [_clip(row, f"{path}:{reader.line_num}") for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run `dvc checkout`, or fill it with `vfer data add`") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8: {error}") from error
    if not clips:
        raise DataError(f"{path}: lists no clips; add some with `vfer data add`")
    _check_unique(clips, path)
    return sorted(clips)


def write(path: Path, clips: Iterable[Clip]) -> None:
    """Write the manifest in place of the former one, atomically, sorted by name."""
    write_csv(path, COLUMNS, [asdict(clip) for clip in sorted(clips)])


def full_name(source: str, name: str) -> str:
    """Return a subject's or recording's name under that of its source; a name that holds a slash says whose it is, and stays."""
    return name if "/" in name else f"{source}/{name}"


def _clip(row: dict[str, str | None], where: str) -> Clip:
    values = {column: (row.get(column) or "").strip() for column in COLUMNS}
    values["framing"] = values["framing"] or "scene"
    for column in REQUIRED:
        if not values[column]:
            raise DataError(f"{where}: {column} is empty")
    for column in ("subject", "recording"):
        values[column] = full_name(values["source"], values[column])
    if not _inside(values["path"]):
        raise DataError(f"{where}: path {values['path']!r} leads out of the dataset; give a path below the folder of clips.csv")
    if not NAME.fullmatch(values["clip"]):
        raise DataError(f"{where}: clip {values['clip']!r} is not a safe name; use letters, digits, '.', '_', '-' and '/'")
    if values["framing"] not in get_args(Framing):
        raise DataError(f"{where}: framing {values['framing']!r} is unknown; expected scene or face")
    return Clip(**values)  # type: ignore[arg-type]  # framing was checked above


def _inside(path: str) -> bool:
    """Return whether a path, relative to the manifest, stays in its folder; DVC's own links within it are no matter of names."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and path.isprintable()


def _check_unique(clips: list[Clip], path: Path) -> None:
    for column in ("clip", "path"):
        seen: set[str] = set()
        for clip in clips:
            value = getattr(clip, column)
            if value in seen:
                raise DataError(f"{path}: {column} {value} appears twice; remove one of the rows")
            seen.add(value)
