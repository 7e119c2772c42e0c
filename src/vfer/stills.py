"""The stills, `stills.parquet`: one row a face picture, grey, 48x48, encoded as PNG or JPEG."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import DataError

SIDE = 48
USAGES = ("train", "validation", "test")
DICTIONARY = ["expression", "usage", "source", "subject"]
SCHEMA = pa.schema(
    (
        pa.field("still", pa.string(), nullable=False),
        pa.field("expression", pa.string(), nullable=False),
        pa.field("usage", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("image", pa.binary(), nullable=False),
    )
)
LABELS = pa.schema(list(SCHEMA)[:-1])


def read(path: Path) -> pa.Table:
    """Reads and checks the stills; returns a table of `SCHEMA`.

    Raises `DataError` where the file is missing or empty, is no such table, a name stands twice, a usage is unknown,
    or an image does not decode to 48x48 grey pixels.
    """
    table = _load(path, SCHEMA)
    decode(table, str(path))
    return table


def labels(path: Path) -> pa.Table:
    """Reads the stills without their images, checked like `read` does otherwise."""
    return _load(path, LABELS)


def write(path: Path, table: pa.Table) -> None:
    """Writes the stills in place of the former ones, atomically, sorted by name; the same stills give the same bytes."""
    temporary = path.with_suffix(".tmp")
    ordered = table.select(SCHEMA.names).cast(SCHEMA).sort_by("still").combine_chunks()
    with temporary.open("wb") as stream:
        # The JPEG headers of one dataset are alike, so that zstd takes a third off bytes that are compressed already.
        pq.write_table(ordered, stream, compression="zstd", use_dictionary=DICTIONARY)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def decode(table: pa.Table, where: str = "stills") -> NDArray[np.uint8]:
    """Returns the pictures, (n, 48, 48) uint8, grey, in the order of the rows; raises `DataError` naming a still that does not decode."""
    pixels = np.empty((table.num_rows, SIDE, SIDE), np.uint8)
    for index, data in enumerate(table["image"].to_pylist()):
        picture = _decode(data)
        if picture is None or picture.shape != (SIDE, SIDE) or picture.dtype != np.uint8:
            still = table["still"][index].as_py()
            raise DataError(f"{where}: {still}: is no {SIDE}x{SIDE} grey picture; restore it with `dvc checkout`, or add its dataset again")
        pixels[index] = picture
    return pixels


def normalise(data: bytes) -> tuple[bytes, bool]:
    """Returns an encoded picture as 48x48 grey, and whether it had to be converted; one that fits keeps its very bytes.

    Raises `DataError` where it does not decode.
    """
    import cv2

    picture = _decode(data)
    if picture is None:
        raise DataError("is no picture that decodes; it may be truncated")
    if picture.shape == (SIDE, SIDE) and picture.dtype == np.uint8:
        return data, False
    pixels = grey(data)
    if pixels is None:
        raise DataError("is no picture that decodes; it may be truncated")
    larger = min(pixels.shape) >= SIDE
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)
    return bytes(cv2.imencode(".png", resized)[1]), True


def grey(data: bytes) -> NDArray[np.uint8] | None:
    """Returns an encoded picture as grey pixels, (height, width) uint8, turned as its EXIF tag says, or None where it does not decode."""
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
        if missing := [name for name in SCHEMA.names if name not in present]:
            raise DataError(f"{path}: has no column {', '.join(missing)}; expected {', '.join(SCHEMA.names)}")
        table = pq.read_table(path, columns=schema.names).cast(schema)
    except FileNotFoundError as error:
        raise DataError(f"{path}: does not exist; run `dvc checkout`, or fill it with `vfer data add`") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: is no table of stills ({reason}); restore it with `dvc checkout`, or fill it with `vfer data add`"
        ) from error
    _check(table, path)
    return table


def _check(table: pa.Table, path: Path) -> None:
    if not table.num_rows:
        raise DataError(f"{path}: holds no stills; add some with `vfer data add`")
    for field in table.schema:
        if not field.nullable and table[field.name].null_count:
            raise DataError(f"{path}: column {field.name} has empty values")
    if unknown := {str(usage) for usage in table["usage"].unique().to_pylist()} - set(USAGES):
        raise DataError(f"{path}: usage {min(unknown)!r} is unknown; expected {', '.join(USAGES)}")
    names = Counter(str(name) for name in table["still"].to_pylist())
    if len(names) < table.num_rows:
        raise DataError(f"{path}: still {names.most_common(1)[0][0]} stands twice; keep one of the rows")
