"""The stills, `stills.parquet`: one row per face picture, grey, 48x48, encoded as PNG or JPEG."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.data.catalogue.manifest import full_name
from vfer.errors import DataError
from vfer.files import writing

FILE = "stills.parquet"
SIDE = 48
USAGES = ("train", "validation", "test")
DICTIONARY = ["expression", "usage", "source", "subject", "votes.key_value.key"]
VOTES = pa.field("votes", pa.map_(pa.string(), pa.int32()))
"""How many annotators saw which expression in a still; null where nobody asked several. A file has the column where a row has votes."""
SCHEMA = pa.schema(
    (
        pa.field("still", pa.string(), nullable=False),
        pa.field("expression", pa.string(), nullable=False),
        pa.field("usage", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("image", pa.binary(), nullable=False),
        VOTES,
    )
)
REQUIRED = [name for name in SCHEMA.names if name != VOTES.name]
LABELS = pa.schema([SCHEMA.field(name) for name in REQUIRED if name != "image"])


def read(path: Path, *, empty: bool = False) -> pa.Table:
    """Read and check the stills; return a table of `SCHEMA`, which may have no rows where `empty` allows that.

    Raises:
        DataError: If the file is missing or empty, is no such table, a name appears twice, a usage is unknown, a vote is negative,
            or an image cannot be decoded to 48x48 grey pixels.
    """
    table = _load(path, SCHEMA)
    if not (table.num_rows or empty):
        raise DataError(f"{path}: holds no stills; add some with `vfer data add`, or set cnn.weights: shipped in params.yaml")
    decode(table, str(path))
    return table


def labels(path: Path) -> pa.Table:
    """Read the stills without their images and votes, checked like `read` does otherwise; there may be none."""
    return _load(path, LABELS)


def pictures(path: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the pictures of the named stills, (n, 48, 48) uint8, in their order; the rest of the table is not decoded."""
    table = _load(path, SCHEMA)
    rows = pc.index_in(pa.array(names, pa.string()), table["still"].combine_chunks())
    if rows.null_count:
        raise DataError(f"{path}: lacks stills that the CNN has seen; run `dvc repro cnn`")
    return decode(table.take(rows), str(path))


def write(path: Path, table: pa.Table) -> None:
    """Write the stills, perhaps none, in place of the former ones, atomically, sorted by name; the same stills give the same bytes."""
    voted = VOTES.name in table.column_names and table[VOTES.name].null_count < table.num_rows
    schema = SCHEMA if voted else pa.schema([SCHEMA.field(name) for name in REQUIRED])
    ordered = table.select(schema.names).cast(schema).sort_by("still").combine_chunks()
    with writing(path) as stream:
        # The JPEG headers of one dataset are alike, so that zstd takes a third off bytes that are compressed already.
        pq.write_table(ordered, stream, compression="zstd", use_dictionary=DICTIONARY)  # type: ignore[arg-type]


def decode(table: pa.Table, where: str = "stills") -> NDArray[np.uint8]:
    """Return the pictures, (n, 48, 48) uint8, grey, in the order of the rows; raise `DataError` naming a still that cannot be decoded."""
    pixels = np.empty((table.num_rows, SIDE, SIDE), np.uint8)
    for index, data in enumerate(table["image"].to_pylist()):
        picture = _decode(data)
        if picture is None or picture.shape != (SIDE, SIDE) or picture.dtype != np.uint8:
            still = table["still"][index].as_py()
            raise DataError(f"{where}: {still}: is not grey and {SIDE}x{SIDE}; restore it with `dvc checkout`, or add its dataset again")
        pixels[index] = picture
    return pixels


def normalise(data: bytes) -> tuple[bytes, bool]:
    """Return an encoded picture as 48x48 grey, and whether it had to be converted; one that fits keeps its very bytes.

    Raises:
        DataError: If it cannot be decoded.
    """
    import cv2

    picture = _decode(data)
    if picture is None:
        raise DataError("is not a picture that can be decoded; it may be truncated, or have more than 40 million pixels")
    if picture.shape == (SIDE, SIDE) and picture.dtype == np.uint8:
        return data, False
    pixels = grey(data)
    if pixels is None:
        raise DataError("is not a picture that can be decoded; it may be truncated, or have more than 40 million pixels")
    larger = min(pixels.shape) >= SIDE
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
    return bytes(cv2.imencode(".png", resized)[1]), True


def grey(data: bytes) -> NDArray[np.uint8] | None:
    """Return an encoded picture as grey pixels, (height, width) uint8, turned as its EXIF tag says, or None if it cannot be decoded."""
    import cv2

    return _decode(data, cv2.IMREAD_GRAYSCALE)


def _decode(data: bytes | None, flags: int = -1) -> NDArray[np.uint8] | None:
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data or b"", np.uint8), flags)  # type: ignore[return-value]  # -1 may give None or 16 bits
    except cv2.error:  # empty, or larger than OpenCV decodes
        return None


def _load(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        present = pq.read_schema(path).names
        if absent := [name for name in REQUIRED if name not in present]:
            raise DataError(f"{path}: has no column {', '.join(absent)}; expected {', '.join(REQUIRED)}")
        table = pq.read_table(path, columns=[name for name in schema.names if name in present])
        if VOTES.name in schema.names and VOTES.name not in present:
            table = table.append_column(VOTES, pa.nulls(table.num_rows, VOTES.type))
        table = _with_full_names(table.cast(schema))
    except FileNotFoundError as error:
        raise DataError(f"{path}: does not exist; run `dvc checkout`, or fill it with `vfer data add`") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: is not a table of stills ({reason}); restore it with `dvc checkout`, or fill it with `vfer data add`"
        ) from error
    _check(table, path)
    return table


def _with_full_names(table: pa.Table) -> pa.Table:
    """Put the subjects under their sources' names."""
    pairs = zip(table["source"].to_pylist(), table["subject"].to_pylist(), strict=True)
    names = pa.array([subject and full_name(str(source), str(subject)) for source, subject in pairs], pa.string())
    return table.set_column(table.schema.get_field_index("subject"), table.schema.field("subject"), names)


def _check(table: pa.Table, path: Path) -> None:
    for field in table.schema:
        if not field.nullable and table[field.name].null_count:
            raise DataError(f"{path}: column {field.name} has empty values")
    if unknown := {str(usage) for usage in table["usage"].unique().to_pylist()} - set(USAGES):
        raise DataError(f"{path}: usage {min(unknown)!r} is unknown; expected {', '.join(USAGES)}")
    names = Counter(str(name) for name in table["still"].to_pylist())
    if len(names) < table.num_rows:
        raise DataError(f"{path}: still {names.most_common(1)[0][0]} appears twice; remove one of the rows")
    if VOTES.name in table.column_names:
        for still, votes in zip(table["still"].to_pylist(), table[VOTES.name].to_pylist(), strict=True):
            if any(count is None or count < 0 for _, count in votes or ()):
                raise DataError(f"{path}: votes of {still} are not counts; fix them, or add its dataset again")
