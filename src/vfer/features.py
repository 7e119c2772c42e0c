"""The feature cache: one row a frame with its embedding, in one Parquet file for all clips."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from vfer.errors import DataError
from vfer.faces import table as faces_table
from vfer.files import replacing
from vfer.nets.session import Session
from vfer.params import Params

REPEATED = ["clip", "status"]  # columns worth a dictionary
COUNTED = ["frame", "time"]  # columns worth statistics; of vectors they would say nothing
PAGE = 1 << 30  # bytes of a page at most, so that a column of a row group is one page
HEADER = 128  # bytes that the header of one page stays below
ROWS = 65_536  # rows buffered and written as one row group
VECTOR = np.dtype("<f4")
VECTORS = ("embedding", "probabilities")


class FeaturesParams(Params):
    """The `features` section of params.yaml."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)]


@dataclass(frozen=True)
class Sequence:
    """One clip's n frames in the cache.

    `frame` (n,) int32 is the index in the source, `time` (n,) float64 its seconds, `status` that of the faces table;
    `embedding` is float32 (n, d) and `probabilities` float32 (n, classes of the CNN), both zero where no face was found.
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
        present = self.status != "none"
        return self.embedding if present.all() else self.embedding[present]


def embed(session: Session, clip: str, found: faces_table.Faces, batch_size: int) -> Sequence:
    """Runs the cut CNN over the crops of one clip."""
    crops = found.crop[found.present][..., np.newaxis]
    parts = [session(crops[at : at + batch_size]) for at in range(0, len(crops), batch_size)] or [session(np.zeros((1, 48, 48, 1)))]
    embedding, probabilities = (_spread(parts, name, found.present) for name in ("embedding", "probabilities"))
    return Sequence(clip, found.frame, found.time, np.array(found.status), embedding, probabilities)


@dataclass(frozen=True)
class FeaturesJob:
    """A clip's faces, and the part of the cache that is made of them."""

    clip: str
    source: Path
    target: Path
    about: str = ""


class Worker:
    """Makes the parts of clips with one session of the cut CNN, which a process loads once."""

    session: Session
    batch_size: int

    @classmethod
    def start(cls, model: Path, batch_size: int) -> None:
        """Loads this process's session, on one thread, since the clips already fill the cores."""
        cls.session, cls.batch_size = Session(model), batch_size

    @classmethod
    def work(cls, job: FeaturesJob) -> int:
        """Writes one clip's part and returns its number of rows."""
        return write_part(job.target, (embed(cls.session, job.clip, piece, cls.batch_size) for piece in faces_table.pieces(job.source)))


def _spread(parts: list[dict[str, NDArray[np.float32]]], name: str, present: NDArray[np.bool_]) -> NDArray[np.float32]:
    values = np.concatenate([part[name] for part in parts])
    spread = np.zeros((len(present), values.shape[1]), np.float32)
    spread[present] = values[: present.sum()]
    return spread


def write(path: Path, sequences: Iterable[Sequence], metadata: Mapping[str, str]) -> int:
    """Writes the cache, atomically, in the order of the clips, or of pieces of them, as they come; returns the number of rows.

    The vectors are float32, little-endian, as binary of a fixed size, neither compressed nor encoded: Parquet's lists of
    numbers take ten times as long to read. No clip is spread over two row groups.
    """
    total = 0
    with replacing(path) as temporary, ExitStack() as stack:
        writer = None
        for group in _groups(sequences, metadata):
            if writer is None:
                options: dict[str, Any] = {"use_dictionary": REPEATED, "write_statistics": COUNTED, "data_page_size": PAGE}
                writer = stack.enter_context(pq.ParquetWriter(temporary, group.schema, compression="none", **options))
            writer.write_table(group, row_group_size=group.num_rows)
            total += group.num_rows
        if writer is None:
            raise DataError(f"{path}: no clip gave faces; run `dvc repro faces`")
    return total


def _groups(sequences: Iterable[Sequence], metadata: Mapping[str, str]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows, clip = 0, ""
    for sequence in sequences:
        if rows >= ROWS and sequence.clip != clip:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
        waiting.append(_table(sequence, metadata))
        rows, clip = rows + waiting[-1].num_rows, sequence.clip
    if rows:
        yield pa.concat_tables(waiting)


def write_part(path: Path, pieces: Iterable[Sequence]) -> int:
    """Writes one clip's rows without its name, atomically, as an Arrow file; returns their number."""
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
    """Reads one clip's rows, a piece of it at a time."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            rows = pa.table(reader.get_batch(index))
            embedding, probabilities = (_matrix(rows[name]) for name in ("embedding", "probabilities"))
            yield Sequence(
                clip, rows["frame"].to_numpy(), rows["time"].to_numpy(), rows["status"].to_numpy().astype(str), embedding, probabilities
            )


def rows_in(path: Path) -> int:
    """Returns the number of rows in a part."""
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
    packed = np.ascontiguousarray(values, VECTOR)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(packed.shape[1] * VECTOR.itemsize), len(packed), [None, pa.py_buffer(packed.data)]
    )


def read(path: Path) -> list[Sequence]:
    """Reads the cache; returns one sequence a clip, in the order of the file.

    Raises `DataError` where the file is missing or is no such table.
    """
    table, vectors = _columns_of(path, ["clip", "frame", "time", "status"], VECTORS)
    embedding, probabilities = vectors["embedding"], vectors["probabilities"]
    frame, time = table["frame"].to_numpy(), table["time"].to_numpy()
    statuses, codes = _named(table["status"])
    status = np.array(statuses)[codes]
    return [
        Sequence(clip, frame[a:b], time[a:b], status[a:b], embedding[a:b], probabilities[a:b])
        for clip, a, b in zip(*_clips(table), strict=True)
    ]


def faces(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads no more of the cache than each clip's `Sequence.faces`, by clip, in the order of the file; raises as `read` does."""
    table, vectors = _columns_of(path, ["clip", "status"], ("embedding",))
    embedding = vectors["embedding"]
    statuses, codes = _named(table["status"])
    clips, starts, ends = _clips(table)
    found = [embedding[a:b] for a, b in zip(starts, ends, strict=True)]
    if "none" in statuses:
        absent = codes == statuses.index("none")
        for i in np.flatnonzero(np.logical_or.reduceat(absent, starts)).tolist():
            found[i] = found[i][~absent[starts[i] : ends[i]]]
    return dict(zip(clips, found, strict=True))


def _columns_of(path: Path, columns: list[str], vectors: tuple[str, ...]) -> tuple[pa.Table, dict[str, NDArray[np.float32]]]:
    """Reads some columns of the cache as a table, and others, of vectors, as arrays (rows, width)."""
    try:
        with pq.ParquetFile(path, memory_map=True, read_dictionary=REPEATED) as file:
            plain = {name: found for name in vectors if (found := _plain(path, file.metadata, name)) is not None}
            table = file.read([*columns, *(name for name in vectors if name not in plain)]).unify_dictionaries()
        return table, {name: plain[name] if name in plain else _matrix(table[name]) for name in vectors}
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:  # AttributeError: a column is of another type
        raise DataError(f"{path}: is no feature cache that can be read; run `dvc repro features`") from error


def _plain(path: Path, metadata: pq.FileMetaData, name: str) -> NDArray[np.float32] | None:
    """Returns a column of vectors where it is neither compressed nor encoded, with one page a row group; None elsewhere.

    The values are then the last bytes of each chunk, and are read straight into the array, in half the time of decoding them. Source:
    the file format of Apache Parquet, "Data Pages".
    """
    column = metadata.schema.names.index(name)
    width = metadata.schema.column(column).length or 0
    chunks = [metadata.row_group(index).column(column) for index in range(metadata.num_row_groups)]
    headers = [chunk.total_uncompressed_size - chunk.num_values * width for chunk in chunks]
    coded = any(chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page for chunk in chunks)
    if coded or not width or width % VECTOR.itemsize or not all(0 < header < HEADER for header in headers):
        return None
    values = np.empty((metadata.num_rows, width // VECTOR.itemsize), VECTOR)
    with path.open("rb", buffering=0) as file:
        start = 0
        for chunk, header in zip(chunks, headers, strict=True):
            part = values[start : start + chunk.num_values]
            file.seek(chunk.data_page_offset + header)
            if file.readinto(part.data.cast("B")) != part.nbytes:
                raise OSError("it ends early")
            start += chunk.num_values
    return values


def _clips(table: pa.Table) -> tuple[list[str], list[int], list[int]]:
    """Returns each clip's name, and where its rows start and end."""
    names, codes = _named(table["clip"])
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])
    return [names[code] for code in codes[starts].tolist()], starts.tolist(), [*starts[1:].tolist(), len(codes)]


def _named(column: "pa.ChunkedArray[Any]") -> tuple[list[str], NDArray[np.int32]]:
    """Returns the names in a column, and each row's place among them; comparing numbers takes a tenth of the time of strings."""
    coded = _whole(column)
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _matrix(column: "pa.ChunkedArray[Any]") -> NDArray[np.float32]:
    packed = _whole(column)
    if not pa.types.is_fixed_size_binary(packed.type):
        raise pa.ArrowTypeError("vectors are expected as binary of a fixed size")
    values = np.frombuffer(packed.buffers()[1], VECTOR).reshape(-1, packed.type.byte_width // VECTOR.itemsize)
    return np.asarray(values[packed.offset : packed.offset + len(packed)])


def _whole(column: "pa.ChunkedArray[Any]") -> Any:
    """Returns a column as one array; `combine_chunks` would copy a single chunk too."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
