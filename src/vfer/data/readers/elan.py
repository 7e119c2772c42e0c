"""ELAN's `.eaf` files that `vfer timeline` wrote and people corrected."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from vfer.data.readers.annotated import AnnotatedPart, AnnotatedVideo, place
from vfer.errors import DataError

AUTHOR = "vfer"
"""Annotator of a tier that nobody has vouched for."""
KIND = "expression"
UNTOUCHED = "unchanged answers of the model; to vouch for all of a tier, put your name in its attribute Annotator in ELAN"
CORNERS = ("x0", "y0", "x1", "y1")
Faces = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float32]]]


def read(path: Path, videos: Mapping[str, Path]) -> list[AnnotatedVideo]:
    """Return the video of a file with its parts.

    Raises:
        DataError: If the file is damaged, or names no video.
    """
    from pympi import Elan

    try:
        eaf: Any = Elan.Eaf(str(path), suppress_version_warning=True)
        tiers = {name: (eaf.tiers[name][2], eaf.get_annotation_data_for_tier(name)) for name in eaf.get_tier_names()}
        properties = dict(eaf.properties)
        answers = json.loads(properties.get("vfer:segments", "{}"))
        sha256 = str(json.loads(properties.get("vfer:provenance", "{}")).get("video_sha256", ""))
        linked = eaf.get_linked_files()
    except Exception as error:  # pympi raises whatever a damaged file leads to
        raise DataError(f"is not a readable ELAN file ({type(error).__name__})") from error
    if not linked:
        raise DataError("names no video; link one in ELAN")
    expressions = {name: one for name, one in tiers.items() if one[0].get("LINGUISTIC_TYPE_REF") == KIND}
    if not expressions:
        raise DataError(f"has no tier of the type {KIND}")
    faces = _faces(path)
    parts: list[AnnotatedPart] = []
    for name, (attributes, annotations) in sorted(expressions.items()):
        person = attributes.get("PARTICIPANT") or name
        vouched = attributes.get("ANNOTATOR", AUTHOR) != AUTHOR or not answers
        unchanged = {tuple(one) for one in answers.get(name, answers.get(person, []))}
        boxes = next((faces[one] for one in (name, person) if one in faces), None)
        if boxes is None and len(expressions) > 1:
            raise DataError(f"says nothing of where {name} is; keep {path.stem}.frames.parquet, which vfer wrote, beside it")
        for start, end, text, *_ in sorted(annotations):
            reason = "" if vouched or (start, end, text) not in unchanged else UNTOUCHED
            parts.append(AnnotatedPart(name, start / 1000, end / 1000, text, _within(boxes, start / 1000, end / 1000), reason))
    return [AnnotatedVideo(str(path), _video(path, linked[0], videos), parts, sha256)]


def _video(path: Path, linked: Mapping[str, str], videos: Mapping[str, Path]) -> Path:
    relative = unquote(str(linked.get("RELATIVE_MEDIA_URL") or ""), errors="surrogateescape").removeprefix("file:///./").removeprefix("./")
    absolute = Path(unquote(urlparse(str(linked.get("MEDIA_URL") or "")).path, errors="surrogateescape"))
    name = Path(relative).name or absolute.name
    return place(name, [path.parent / (relative or name), path.parent / name, absolute], videos)


def _faces(path: Path) -> Faces:
    """Return each person's times and boxes, float32 (n, 4), from the table beside a file; none if there is no table."""
    parquet, table = (path.with_name(f"{path.stem}.frames.{suffix}") for suffix in ("parquet", "csv"))
    columns = ["person", "time", *CORNERS]
    try:
        if parquet.is_file():
            import pyarrow.parquet as pq

            rows = pq.read_table(parquet, columns=columns).to_pylist()
        elif table.is_file():
            with table.open(newline="", encoding="utf-8") as stream:
                rows = [{name: row[name] for name in columns} for row in csv.DictReader(stream)]
        else:
            return {}
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for row in rows:
            if row["person"] and row["x0"] not in (None, ""):
                boxes.setdefault(str(row["person"]), []).append(tuple(float(row[name]) for name in columns[1:]))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"its table of frames is damaged ({error}); write it again with `vfer timeline`") from error
    return {person: (np.array(one)[:, 0], np.array(one, np.float32)[:, 1:]) for person, one in boxes.items()}


def _within(faces: tuple[NDArray[np.float64], NDArray[np.float32]] | None, start: float, end: float) -> NDArray[np.float32] | None:
    if faces is None:
        return None
    time, boxes = faces
    return boxes[(time >= start - 1e-3) & (time < end)]
