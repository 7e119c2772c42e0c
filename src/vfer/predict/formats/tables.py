"""A timeline as tables: one row per sampled frame and person, and one row per segment; docs/schema.md describes the columns."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vfer.files import replacing, write_bytes, write_json
from vfer.predict.timeline.timeline import Timeline, TimelineRow

GROUP = 2048  # rows of a group; that many are held as Python objects
CORNERS = ("x0", "y0", "x1", "y1")
SOURCE = ("model", "run_id", "video_sha256")
"""The provenance of a row; the rest is in the metadata and in provenance.json."""
SEGMENTS = ("person", "shot", "start", "end", "expression", "confidence", "peak", "flags", *SOURCE)


def schema(timeline: Timeline) -> pa.Schema:
    """Return the columns of the frames table, with the provenance as its metadata."""
    names, number = timeline.classes, pa.float32()
    baseline = "baseline" in timeline.provenance
    fields: list[tuple[str, pa.DataType]] = [("frame", pa.int32()), ("time", pa.float64()), ("status", pa.string())]
    fields += [(corner, number) for corner in CORNERS]
    fields += [("person", pa.string()), ("track", pa.int32()), ("shot", pa.int32())]
    fields += [(f"p_{name}", number) for name in names] + [(f"p_{name}_smooth", number) for name in names]
    fields += [("expression", pa.string()), ("confidence", number), ("flags", pa.string())]
    if baseline:
        fields += [("baseline", pa.bool_())]
        fields += [(f"plain_{name}", number) for name in names] + [(f"plain_{name}_smooth", number) for name in names]
        fields += [("plain_expression", pa.string())]
    fields += [(name, pa.dictionary(pa.int32(), pa.string())) for name in SOURCE]
    metadata: dict[bytes | str, bytes | str] = {"vfer": json.dumps(timeline.provenance, sort_keys=True)}
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=metadata)


def rows(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """Yield the rows of the frames table; what does not apply is absent."""
    source = {name: timeline.provenance[name] for name in SOURCE}
    for row in timeline.rows:
        baseline = {"baseline": row.person in timeline.with_baseline} if row.plain else {}
        yield {**_row(row, timeline.classes), **baseline, **source}


def _row(row: TimelineRow, classes: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {"frame": row.frame, "time": row.time, "status": row.status, "person": row.person, "shot": row.shot}
    if row.box is None or row.raw is None or row.smooth is None or row.best is None:
        return record
    record |= zip(CORNERS, (round(float(value), 2) for value in row.box), strict=True)
    record |= {f"p_{name}": _rounded(value) for name, value in zip(classes, row.raw, strict=True)}
    record |= {f"p_{name}_smooth": _rounded(value) for name, value in zip(classes, row.smooth, strict=True)}
    record |= {"track": row.track, "expression": classes[row.best], "confidence": _rounded(row.smooth[row.best])}
    record["flags"] = "; ".join(row.flags)
    if row.plain:
        raw, smooth = row.plain
        record |= {f"plain_{name}": _rounded(value) for name, value in zip(classes, raw, strict=True)}
        record |= {f"plain_{name}_smooth": _rounded(value) for name, value in zip(classes, smooth, strict=True)}
        record["plain_expression"] = classes[int(smooth.argmax())]
    return record


def _rounded(value: Any) -> float:
    return round(float(value), 5)


def write_csv(path: Path, timeline: Timeline) -> None:
    """Write the frames table as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, schema(timeline).names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(timeline))


def write_parquet(path: Path, timeline: Timeline) -> None:
    """Write the frames table as Parquet, with the provenance as JSON under the key `vfer` of its metadata."""
    columns = schema(timeline)
    records = rows(timeline)
    with replacing(path) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        while group := list(islice(records, GROUP)):
            writer.write_table(pa.Table.from_pylist(group, columns))


def write_segments(path: Path, timeline: Timeline) -> None:
    """Write the segments as CSV."""
    source = {name: timeline.provenance[name] for name in SOURCE}
    text = io.StringIO()
    writer = csv.DictWriter(text, SEGMENTS, lineterminator="\n")
    writer.writeheader()
    for one in timeline.segments:
        times = {name: f"{getattr(one, name):.3f}" for name in ("start", "end", "peak")}
        answer = {"expression": one.expression, "confidence": _rounded(one.confidence), "flags": "; ".join(one.flags)}
        writer.writerow({"person": one.person, "shot": one.shot, **times, **answer, **source})
    write_bytes(path, text.getvalue().encode())


def write_provenance(path: Path, timeline: Timeline) -> None:
    """Write what the timeline was made from and with."""
    write_json(path, timeline.provenance)
