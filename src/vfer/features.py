"""The feature cache: one row a frame with its embedding, in one Parquet file for all clips."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from vfer.errors import DataError
from vfer.faces import table as faces
from vfer.params import Params
from vfer.session import Session

REPEATED = ["clip", "status"]  # columns worth a dictionary
ROWS = 65_536  # rows buffered and written as one row group


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
        return np.asarray(self.embedding[self.status != "none"])


def embed(session: Session, clip: str, found: faces.Faces, batch_size: int) -> Sequence:
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
        return write_part(job.target, (embed(cls.session, job.clip, piece, cls.batch_size) for piece in faces.pieces(job.source)))


def _spread(parts: list[dict[str, NDArray[np.float32]]], name: str, present: NDArray[np.bool_]) -> NDArray[np.float32]:
    values = np.concatenate([part[name] for part in parts])
    spread = np.zeros((len(present), values.shape[1]), np.float32)
    spread[present] = values[: present.sum()]
    return spread


def write(path: Path, sequences: Iterable[Sequence], metadata: Mapping[str, str]) -> int:
    """Writes the cache, atomically, in the order of the clips, or of pieces of them, as they come; returns the number of rows.

    Not compressed and not encoded, so that a reader gets the vectors as they lie on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    rows = total = 0
    try:
        for sequence in sequences:
            waiting.append(_table(sequence, metadata))
            rows, total = rows + waiting[-1].num_rows, total + waiting[-1].num_rows
            if writer is None:
                writer = pq.ParquetWriter(temporary, waiting[0].schema, compression="none", use_dictionary=REPEATED)  # type: ignore[arg-type]
            if rows >= ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
                waiting, rows = [], 0
        if writer is None:
            raise DataError(f"{path}: no clip gave faces; run `dvc repro faces`")
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
        writer.close()
        temporary.replace(path)
    finally:
        if writer:
            writer.close()
        temporary.unlink(missing_ok=True)
    return total


def write_part(path: Path, pieces: Iterable[Sequence]) -> int:
    """Writes one clip's rows without its name, atomically, as an Arrow file; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    rows = 0
    with ExitStack() as stack:
        writer = None
        for piece in pieces:
            batch = pa.record_batch(_columns(piece))
            writer = writer or stack.enter_context(pa.ipc.new_file(stack.enter_context(pa.OSFile(str(temporary), "wb")), batch.schema))
            writer.write_batch(batch)
            rows += len(piece.frame)
    temporary.replace(path)
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
    return pa.table(names | _columns(sequence)).replace_schema_metadata(dict(metadata))


def _columns(sequence: Sequence) -> "dict[str, pa.Array[Any]]":
    return {
        "frame": pa.array(sequence.frame, pa.int32()),
        "time": pa.array(sequence.time, pa.float64()),
        "status": pa.array(sequence.status.tolist(), pa.string()),
        "embedding": _vectors(sequence.embedding),
        "probabilities": _vectors(sequence.probabilities),
    }


def _vectors(values: NDArray[np.float32]) -> "pa.Array[Any]":
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])


def read(path: Path) -> list[Sequence]:
    """Reads the cache; returns one sequence a clip, in the order of the file.

    Raises `DataError` where the file is missing or is no such table.
    """
    try:
        table = pq.read_table(path, memory_map=True)
        vectors = {name: _matrix(table[name]) for name in ("embedding", "probabilities")}
        clips = table["clip"].to_numpy()
        frame, time = table["frame"].to_numpy(), table["time"].to_numpy()
        status = table["status"].to_numpy().astype(str)
    except (OSError, KeyError, AttributeError, pa.ArrowException) as error:  # AttributeError: a column is of another type
        raise DataError(f"{path}: is no feature cache that can be read; run `dvc repro features`") from error
    starts = np.flatnonzero(np.r_[True, clips[1:] != clips[:-1]]) if len(clips) else np.zeros(0, int)
    ends = np.r_[starts[1:], len(clips)]
    return [
        Sequence(str(clips[a]), frame[a:b], time[a:b], status[a:b], vectors["embedding"][a:b], vectors["probabilities"][a:b])
        for a, b in zip(starts, ends, strict=True)
    ]


def _matrix(column: "pa.ChunkedArray[Any]") -> NDArray[np.float32]:
    width = column.type.list_size
    chunks = [pc.list_flatten(chunk).to_numpy().reshape(-1, width) for chunk in column.chunks]
    return np.concatenate(chunks) if len(chunks) != 1 else chunks[0]
