"""The table of predictions, one row per clip: written as CSV, JSON, JSON lines or Parquet, and read back to go on where a run ended."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from vfer.clips.digests import digest
from vfer.errors import DataError
from vfer.files import replacing, write_bytes
from vfer.predict.batch import BatchResult
from vfer.predict.inputs import Input
from vfer.predict.locks import locked
from vfer.predict.prediction import Prediction
from vfer.predict.timeline.timeline import NOTICE

Row = dict[str, Any]
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
NUMBERS = ("confidence", "coverage", "seconds")
MARK = ("path", "expression", "settings")
"""Columns by which a table of predictions is known."""
PAUSE = 2.0  # seconds between two writings of the table


class PredictionsFile:
    """The table that a run fills: written every few seconds and at the end, whatever ends the run.

    Args:
        path: The table; None to write none.
        model: Which model answers.
        settings: For each clip, the hash of the model and of all that its answer is made with.

    Raises:
        DataError: The name is that of no format, the file holds something else, or another run fills it.
    """

    def __init__(self, path: Path | None, model: str, settings: Mapping[str, str]) -> None:
        self._path, self._model, self._settings = path, model, settings
        self._rows: dict[str, Row] = {}
        self._written = 0.0
        if path and path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: is not a name for a table of predictions; end it in {', '.join(SUFFIXES)}")

    def __enter__(self) -> "PredictionsFile":
        with ExitStack() as stack:
            if self._path:
                stack.enter_context(locked(self._path))
                self._rows = {str(one["path"]): one for one in read(self._path)}
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._held:
            self._write()

    def earlier(self, one: Input) -> Row | None:
        """Return the row of a video that has an answer to the same content, by the same model and settings."""
        earlier = self._rows.get(one.clip)
        if not earlier or earlier["error"] or not self.tried(one):
            return None
        try:
            return earlier if digest(one.path) == earlier["sha256"] else None
        except OSError:
            return None

    def tried(self, one: Input) -> bool:
        """Return whether a video has a row, be it an error, by the same model and settings."""
        return one.clip in self._rows and self._rows[one.clip]["settings"] == self._settings[one.clip]

    def add(self, result: BatchResult) -> Row:
        """Take an answer in, in place of an older one to the same video; return its row."""
        clip = result.prediction.path
        content = row(result.prediction, model=self._model, settings=self._settings[clip], sha256=result.sha256)
        self._rows[clip] = content
        if self._path and time.monotonic() - self._written > PAUSE:
            self._write()
        return content

    def _write(self) -> None:
        if self._path and self._rows:
            write(self._path, [self._rows[path] for path in sorted(self._rows)])
            self._written = time.monotonic()


def row(prediction: Prediction, *, model: str, settings: str, sha256: str) -> Row:
    """Return a prediction as a flat row.

    Args:
        prediction: The answer.
        model: Which model gave it.
        settings: The hash of the model and of all that the answer was made with; a later run goes by it.
        sha256: The hash of the video's bytes.
    """
    return {
        "path": prediction.path,
        "expression": prediction.expression,
        "confidence": _rounded(prediction.confidence),
        **{f"p_{name}": _rounded(value) for name, value in prediction.probabilities.items()},
        "coverage": _rounded(prediction.coverage),
        "frames": prediction.frames,
        "seconds": _rounded(prediction.seconds),
        "flags": "; ".join(prediction.flags),
        "person": prediction.person,
        "baseline": prediction.baseline,
        **{f"plain_{name}": _rounded(value) for name, value in prediction.plain.items()},
        "error": prediction.error,
        "model": model,
        "sha256": sha256,
        "settings": settings,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def read(path: Path) -> list[Row]:
    """Return the rows of a table that `write` wrote; none if there is no file.

    Raises:
        DataError: If the file holds something else.
    """
    if not path.exists():
        return []
    try:
        rows = _read(path)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as predictions ({error}); move it away, or give another --output") from error
    if any(name not in one for one in rows for name in MARK):
        raise DataError(f"{path}: holds something else than predictions; give another --output")
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows in place of the former file, atomically; every row has every column."""
    columns = _columns(rows)
    full = [{name: one.get(name) for name in columns} for one in rows]
    kind = path.suffix.lower()
    if kind == ".parquet":
        _write_parquet(path, columns, full)
    elif kind == ".json":
        write_bytes(path, (json.dumps(full, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    elif kind == ".jsonl":
        write_bytes(path, "".join(json.dumps(one, ensure_ascii=False, allow_nan=False) + "\n" for one in full).encode())
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(full)
        write_bytes(path, text.getvalue().encode())


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of all rows; those of probabilities stay together, whatever row has them first."""
    plain = list(row(Prediction(""), model="", settings="", sha256=""))
    for prefix, after in (("p_", "confidence"), ("plain_", "baseline")):
        at = plain.index(after) + 1
        plain[at:at] = dict.fromkeys(name for one in rows for name in one if name.startswith(prefix))
    return plain


def _read(path: Path) -> list[Row]:
    kind = path.suffix.lower()
    if kind == ".parquet":
        import pyarrow.parquet as pq

        return [dict(one) for one in pq.read_table(path).to_pylist()]
    if kind == ".csv":
        with path.open(newline="", encoding="utf-8") as stream:
            return [{name: _value(name, text) for name, text in one.items()} for one in csv.DictReader(stream)]
    text = path.read_text(encoding="utf-8")
    records = json.loads(text) if kind == ".json" else [json.loads(line) for line in text.splitlines() if line]
    if not all(isinstance(one, dict) for one in records):
        raise ValueError("expected one object a row")
    return list(records)


def _value(name: str, text: str) -> object:
    if name == "flags":
        return text
    if not text:
        return None
    if name in NUMBERS or name.startswith(("p_", "plain_")):
        return float(text)
    return int(text) if name == "frames" else text


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"frames": pa.int64()} | dict.fromkeys(NUMBERS, pa.float64())
    fields: list[pa.Field[Any]] = [
        pa.field(name, pa.float64() if name.startswith(("p_", "plain_")) else kinds.get(name, pa.string())) for name in columns
    ]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(fields, {"notice": NOTICE})), temporary)
