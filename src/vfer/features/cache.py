"""The feature cache: one row per frame with its embedding, in one Parquet file for all clips."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import DataError
from vfer.files import replacing

REPEATED = ["clip", "status"]  # columns worth a dictionary
WITH_STATISTICS = ["frame", "time"]  # columns worth statistics; of vectors they would say nothing
ROWS = 65_536  # rows buffered and written as one row group
VECTORS = ("embedding", "probabilities")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The n frames of a clip that show a face: `values`, float32 (n, d), and their `time`, float64 (n,), increasing, in seconds."""

    values: NDArray[np.float32]
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def moved(self, by: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> "Embeddings":
        """Return the same frames with other embeddings, such as those relative to a person's baseline."""
        return Embeddings(by(self.values), self.time)


@dataclass(frozen=True)
class Sequence:
    """One clip's n frames in the cache.

    `frame` (n,) int32 is the index in the source, `time` (n,) float64 its seconds, `status` that of the faces table;
    `embedding` is float32 (n, d), the CNN's or the features of another tool, and `probabilities` float32 (n, classes of the CNN), both zero
    where no face was found.
    """

    clip: str
    frame: NDArray[np.int32]
    time: NDArray[np.float64]
    status: NDArray[np.str_]
    embedding: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    @property
    def faces(self) -> NDArray[np.float32]:
        """Embeddings of the frames that show a face, float32 (m, d)."""
        return self.shown.values

    @property
    def shown(self) -> Embeddings:
        """The frames that show a face."""
        return _shown(self.embedding, self.time, self.status != "none")


def _shown(embedding: NDArray[np.float32], time: NDArray[np.float64], present: NDArray[np.bool_]) -> Embeddings:
    return Embeddings(embedding, time) if present.all() else Embeddings(embedding[present], time[present])


def write(path: Path, sequences: Iterable[Sequence], metadata: Mapping[str, str]) -> int:
    """Write the cache, atomically, in the order of the clips, or of pieces of them, as they come; return the number of rows.

    The vectors are lists of float32 of a fixed size, so that pandas, polars and DuckDB read them as vectors.
    """
    total = 0
    with replacing(path) as temporary, ExitStack() as stack:
        writer = None
        for group in _groups(sequences, metadata):
            if writer is None:
                options: dict[str, Any] = {"use_dictionary": REPEATED, "write_statistics": WITH_STATISTICS}
                writer = stack.enter_context(pq.ParquetWriter(temporary, group.schema, compression="none", **options))
            writer.write_table(group, row_group_size=group.num_rows)
            total += group.num_rows
        if writer is None:
            raise DataError(f"{path}: no clip gave faces; run `dvc repro faces`")
    return total


def _groups(sequences: Iterable[Sequence], metadata: Mapping[str, str]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for sequence in sequences:
        waiting.append(_table(sequence, metadata))
        rows += waiting[-1].num_rows
        if rows >= ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if rows:
        yield pa.concat_tables(waiting)


def write_part(path: Path, pieces: Iterable[Sequence]) -> int:
    """Write one clip's rows without its name, atomically, as an Arrow file; return their number."""
    rows = 0
    with replacing(path) as temporary, ExitStack() as stack:
        writer = None
        for piece in pieces:
            batch = pa.record_batch(_columns(piece))
            writer = writer or stack.enter_context(pa.ipc.new_file(stack.enter_context(pa.OSFile(str(temporary), "wb")), batch.schema))
            writer.write_batch(batch)
            rows += len(piece.frame)
    return rows


def read_part(path: Path, clip: str) -> Iterator[Sequence]:
    """Read one clip's rows, a piece of it at a time."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            rows = pa.table(reader.get_batch(index))
            embedding, probabilities = (_matrix(rows[name]) for name in VECTORS)
            yield Sequence(
                clip, rows["frame"].to_numpy(), rows["time"].to_numpy(), rows["status"].to_numpy().astype(str), embedding, probabilities
            )


def rows_in(path: Path) -> int:
    """Return the number of rows in a part."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return sum(reader.get_batch(index).num_rows for index in range(reader.num_record_batches))


def _table(sequence: Sequence, metadata: Mapping[str, str]) -> pa.Table:
    names: dict[str, pa.Array[Any]] = {"clip": pa.array([sequence.clip] * len(sequence.frame), pa.string())}
    columns = names | _columns(sequence)
    schema = pa.schema([pa.field(name, column.type, nullable=False) for name, column in columns.items()])
    return pa.Table.from_arrays(list(columns.values()), schema=schema.with_metadata(dict(metadata)))


def _columns(sequence: Sequence) -> "dict[str, pa.Array[Any]]":
    return {
        "frame": pa.array(sequence.frame, pa.int32()),
        "time": pa.array(sequence.time, pa.float64()),
        "status": pa.array(sequence.status.tolist(), pa.string()),
        "embedding": _vectors(sequence.embedding),
        "probabilities": _vectors(sequence.probabilities),
    }


def _vectors(values: NDArray[np.float32]) -> "pa.Array[Any]":
    flat: pa.Array[Any] = pa.array(np.ascontiguousarray(values).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def read(path: Path) -> list[Sequence]:
    """Read the cache; return one sequence a clip, in the order of the file.

    Raises `DataError` if the file is missing or is no such table.
    """
    table = _read(path, ["clip", "frame", "time", "status", *VECTORS])
    embedding, probabilities = (table[name] for name in VECTORS)
    return [
        Sequence(clip, table["frame"][a:b], table["time"][a:b], table["status"][a:b], embedding[a:b], probabilities[a:b])
        for clip, a, b in _clips(table["clip"])
    ]


def embeddings(path: Path) -> dict[str, Embeddings]:
    """Read no more of the cache than `Sequence.shown` of each clip, by clip, in the order of the file; raise as `read` does."""
    table = _read(path, ["clip", "time", "status", "embedding"])
    present = table["status"] != "none"
    return {clip: _shown(table["embedding"][a:b], table["time"][a:b], present[a:b]) for clip, a, b in _clips(table["clip"])}


def metadata(path: Path) -> dict[str, str]:
    """Return the cache's metadata; raise `DataError` if it is missing or damaged."""
    try:
        return {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable feature cache; run `dvc repro features`") from error


def _read(path: Path, columns: list[str]) -> dict[str, NDArray[Any]]:
    """Return columns of the cache as arrays: (rows,), and (rows, width) of vectors."""
    try:
        table = pq.read_table(path, columns=columns, memory_map=True, read_dictionary=REPEATED).combine_chunks().unify_dictionaries()
        return {name: _array(table[name], name) for name in columns}
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:  # AttributeError: a column is of another type
        raise DataError(f"{path}: is not a readable feature cache; run `dvc repro features`") from error


def _array(column: "pa.ChunkedArray[Any]", name: str) -> NDArray[Any]:
    if name in VECTORS:
        return _matrix(column)
    if name in REPEATED:
        coded: Any = column.combine_chunks()
        names: NDArray[np.str_] = np.array(coded.dictionary.to_pylist(), np.str_)
        return np.asarray(names[coded.indices.to_numpy()])
    plain: NDArray[Any] = column.to_numpy()
    return plain


def _clips(names: NDArray[np.str_]) -> Iterator[tuple[str, int, int]]:
    """Yield each clip's name, and where its rows start and end."""
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1])[: len(names)]).tolist()
    yield from zip(names[starts].tolist(), starts, [*starts[1:], len(names)], strict=True)


def _matrix(column: "pa.ChunkedArray[Any]") -> NDArray[np.float32]:
    width = column.type.list_size
    chunks: Any = column.chunks
    values = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in chunks]
    return np.concatenate(values) if len(values) > 1 else np.asarray(values[0], np.float32)
