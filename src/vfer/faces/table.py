"""The faces of one clip as a Parquet file: schema, reading and writing."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import DataError
from vfer.files import replacing

SIDE = 48
STATUSES = ("detected", "tracked", "interpolated", "given", "none")
CORNERS = ("x0", "y0", "x1", "y1")
ROWS = 1024  # a row group
_ARRAYS = ("frame", "time", "score", "box", "crop")
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("frame", pa.int32(), nullable=False),
    pa.field("time", pa.float64(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("score", pa.float32()),
    pa.field("x0", pa.float32()),
    pa.field("y0", pa.float32()),
    pa.field("x1", pa.float32()),
    pa.field("y1", pa.float32()),
    pa.field("crop", pa.binary(SIDE * SIDE)),
]
FACES_SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True)
class Faces:
    """The n sampled frames of one clip, or a part of them.

    `frame` (n,) int32 is the index in the source, `time` (n,) float64 its seconds, `status` one of `STATUSES` each;
    `score` (n,), the detector's, and `box` (n, 4) are float32 with NaN where there is none (pixels of the stored frame);
    `crop` is (n, 48, 48) uint8, zero if the status is none.
    """

    frame: NDArray[np.int32]
    time: NDArray[np.float64]
    status: list[str]
    score: NDArray[np.float32]
    box: NDArray[np.float32]
    crop: NDArray[np.uint8]
    metadata: Mapping[str, str]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which frames show a face, (n,)."""
        return np.array([status != "none" for status in self.status], bool)


def clips(folder: Path) -> list[str]:
    """Return the names of the clips that have a table in a folder, sorted."""
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.parquet"))


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return the numbers of at most `most` of `count` frames, int64, evenly spaced from the first to the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)


def read(path: Path) -> Faces:
    """Read the faces of one clip.

    Raises:
        DataError: If the file is damaged or not of this schema.
    """
    with _open(path) as parquet:
        return _faces(path, parquet.read)


def pieces(path: Path) -> Iterator[Faces]:
    """Read the faces of one clip a row group at a time, as `read` does."""
    with _open(path) as parquet:
        for group in range(parquet.num_row_groups):
            yield _faces(path, partial(parquet.read_row_group, group))


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable Parquet file; delete it and run `dvc repro faces`") from error


def _faces(path: Path, load: Callable[[], pa.Table]) -> Faces:
    try:
        table = load()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable Parquet file; delete it and run `dvc repro faces`") from error
    if not table.schema.equals(FACES_SCHEMA):
        raise DataError(f"{path}: lacks the columns of a faces table; run `dvc repro faces`")
    pixels = b"".join(crop or bytes(SIDE * SIDE) for crop in table["crop"].to_pylist())
    crop = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE)
    box = np.stack([table[corner].to_numpy() for corner in CORNERS], axis=1)
    metadata = {key.decode(): value.decode() for key, value in sorted((table.schema.metadata or {}).items())}
    status = [str(value) for value in table["status"].to_pylist()]
    return Faces(table["frame"].to_numpy(), table["time"].to_numpy(), status, table["score"].to_numpy(), box, crop, metadata)


def join(parts: Sequence[Faces]) -> Faces:
    """Return the parts of one clip, at least one, as a whole."""
    status = [status for part in parts for status in part.status]
    frame, time, score, box, crop = (np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS)
    return Faces(frame, time, status, score, box, crop, parts[0].metadata)


def write(path: Path, faces: Faces) -> None:
    """Write the faces of one clip atomically; the same faces give the same bytes.

    Not compressed: crops are too noisy for it (zstd saved 3 % on real clips).
    """
    write_parts(path, [faces])


def write_parts(path: Path, parts: Iterable[Faces]) -> dict[str, int]:
    """Write the faces of one clip as its parts come, at least one, as `write` does; return how many frames have each status."""
    totals = dict.fromkeys(STATUSES, 0)
    with replacing(path) as temporary, ExitStack() as stack:
        writer = None
        for part in parts:
            rows = _table(part)
            writer = writer or stack.enter_context(pq.ParquetWriter(temporary, rows.schema, compression="none"))
            writer.write_table(rows, row_group_size=ROWS)
            for status in part.status:
                totals[status] += 1
    return totals


def counts(path: Path) -> dict[str, int]:
    """Return how many frames of a faces table have each status."""
    with pq.ParquetFile(path) as parquet:
        statuses = Counter(parquet.read(["status"])["status"].to_pylist())
    return {status: statuses[status] for status in STATUSES}


def _table(faces: Faces) -> pa.Table:
    crops = [crop.tobytes() if there else None for crop, there in zip(faces.crop, faces.present, strict=True)]
    boxes = [pa.array(column, from_pandas=True) for column in faces.box.T]
    columns = [pa.array(faces.frame), pa.array(faces.time), pa.array(faces.status), pa.array(faces.score, from_pandas=True), *boxes]
    schema = FACES_SCHEMA.with_metadata(dict(sorted(faces.metadata.items())))
    return pa.Table.from_arrays([*columns, pa.array(crops, pa.binary(SIDE * SIDE))], schema=schema)
