"""The motion of a clip's face by the motion vectors of its codec: no optical flow is computed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from vfer.faces import table
from vfer.faces.table import SIDE, Faces
from vfer.files import read_table, replacing
from vfer.video import picture
from vfer.video.decode import decoded
from vfer.video.picture import Orientation

Vectors = NDArray[np.float32]
GRID = 24
"""Points a side at which the motion of a crop is sampled; even the blocks of a codec are larger."""
BLOCK = 4  # pixels: the codecs' smallest block
SLACK = 1e-6  # seconds; times are rounded
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("frame", pa.int32(), nullable=False),
    pa.field("motion", pa.binary(GRID * GRID * 2 * np.dtype(np.float16).itemsize), nullable=False),
]
MOTION_SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True)
class MotionJob:
    """A clip, its faces (`about` is their hash), and where its motion goes."""

    clip: str
    source: Path
    target: Path
    faces: Path
    margin: float
    about: str


def write(job: MotionJob) -> bool:
    """Write the motion of the frames that show a face, atomically; return whether the codec told any.

    Raises:
        ClipError: If the video cannot be decoded.
    """
    faces = table.read(job.faces)
    return _write(job, faces, of_crops(job.source, faces, job.margin))


def write_none(job: MotionJob) -> None:
    """Write that nothing moves, for a clip whose motion cannot be read."""
    faces = table.read(job.faces)
    _write(job, faces, np.zeros((int(faces.present.sum()), GRID, GRID, 2), np.float32))


def _write(job: MotionJob, faces: Faces, motions: Vectors) -> bool:
    cells = [motion.astype(np.float16).tobytes() for motion in motions]
    rows = pa.Table.from_arrays(
        [pa.array(faces.frame[faces.present]), pa.array(cells, MOTION_SCHEMA.field("motion").type)], schema=MOTION_SCHEMA
    )
    with replacing(job.target) as temporary:
        pq.write_table(rows, temporary)
    return bool(motions.any())


def read(path: Path) -> Vectors:
    """Return the motion of the frames that show a face, float32 (frames, 48, 48, 2): pixels of the crop since the frame before.

    Raises:
        DataError: If the file is missing or is no such table.
    """
    rows = read_table(path, MOTION_SCHEMA, "table of motion", "run `make compare`")
    values = np.frombuffer(b"".join(cell or b"" for cell in rows["motion"].to_pylist()), np.float16).reshape(-1, GRID, GRID, 2)
    return values.astype(np.float32).repeat(SIDE // GRID, axis=1).repeat(SIDE // GRID, axis=2)


def has_motion(path: Path) -> bool:
    """Return whether a table of motion holds any."""
    return bool(read(path).any())


def of_crops(video: Path, faces: Faces, margin: float) -> Vectors:
    """Return the motion of the frames that show a face, float32 (frames, `GRID`, `GRID`, 2), right and down, in pixels of a crop of 48.

    It is what moved within the crop since the sampled frame before: the movement of the crop itself is taken off. A codec other than
    H.264 and MPEG-4 tells none, and a lossless one neither: all is zero then.
    """
    size = int(faces.metadata.get("width", 0)), int(faces.metadata.get("height", 0))
    total: Vectors | None = None
    motions, before = [], None
    fields = _fields(video)
    ahead = next(fields, None)
    for number, (time, status) in enumerate(zip(faces.time, faces.status, strict=True)):
        while ahead is not None and ahead[0] <= time + SLACK:
            total = ahead[1] if total is None or total.shape != ahead[1].shape else total + ahead[1]
            ahead = next(fields, None)
        if status == "none":
            before = None
        else:
            box = faces.box[number]
            motions.append(_cut(total, size, box, before, margin, cropped=status == "given"))
            # Frames for which the codec tells nothing wait for the next one, whose vectors reach back over them.
            before = box if total is not None or before is None else before
        total = None
    return np.stack(motions) if motions else np.zeros((0, GRID, GRID, 2), np.float32)


def _fields(video: Path) -> Iterator[tuple[float, Vectors]]:
    """Yield the seconds of each predicted frame and its motion since the frame that it is predicted from.

    Frames predicted from both sides are skipped: no other is predicted from them, so the rest is a chain from frame to frame.
    Source: Zhang et al., "Real-Time Action Recognition with Enhanced Motion Vector CNNs", 2016.
    """
    for current in decoded(video, codec={"flags2": "+export_mvs"}):
        frame = current.frame
        vectors = frame.side_data.get("MOTION_VECTORS") if frame.pict_type == PictureType.P else None
        if vectors is not None:
            yield current.time, _turned(_spread(vectors.to_ndarray(), frame), picture.orientation(frame))


def _spread(vectors: "np.typing.NDArray[Any]", frame: VideoFrame) -> Vectors:
    """Return a frame's motion vectors as a field of `BLOCK` pixel steps, float32 (h, w, 2), right and down, in pixels."""
    field = np.zeros((-(-frame.height // BLOCK), -(-frame.width // BLOCK), 2), np.float32)
    past = vectors[vectors["source"] < 0]
    moves = -np.stack([past["motion_x"], past["motion_y"]], axis=1).astype(np.float32) / np.maximum(past["motion_scale"], 1)[:, None]
    sizes = np.stack([past["w"], past["h"]], axis=1)
    for width, height in np.unique(sizes, axis=0).tolist():
        same_size = (sizes == (width, height)).all(axis=1)
        left, top = past["dst_x"][same_size].astype(int) - width // 2, past["dst_y"][same_size].astype(int) - height // 2
        for down in range(0, height, BLOCK):
            for right in range(0, width, BLOCK):
                rows, columns = (top + down) // BLOCK, (left + right) // BLOCK
                inside = (rows >= 0) & (rows < field.shape[0]) & (columns >= 0) & (columns < field.shape[1])
                field[rows[inside], columns[inside]] = moves[same_size][inside]
    return field


def _turned(field: Vectors, way: Orientation) -> Vectors:
    """Turn a field as `frames` turns the picture."""
    right, down = (field[..., 1], field[..., 0]) if way.transpose else (field[..., 0], field[..., 1])
    return np.ascontiguousarray(way.apply(np.dstack([-right if way.mirror else right, -down if way.flip else down])))


def _cut(total: Vectors | None, size: tuple[int, int], box: Vectors, before: Vectors | None, margin: float, *, cropped: bool) -> Vectors:
    """Return the part of a field in the crop of a box, which is in pixels of a picture of `size`, (width, height)."""
    if total is None:
        return np.zeros((GRID, GRID, 2), np.float32)
    corner, sides = box[:2], box[2:4] - box[:2]
    if not cropped:
        side = (1 + margin) * sides.max()
        corner, sides = (box[:2] + box[2:4] - side) / 2, np.array([side, side], np.float32)
    scale = np.array(total.shape[1::-1]) / np.array(size)  # steps of the field a pixel of the stored frame
    places = corner + (np.arange(GRID)[:, None] + 0.5) / GRID * sides
    columns, rows = (np.clip((places * scale).astype(int), 0, np.array(total.shape[1::-1]) - 1)).T
    moves = total[np.ix_(rows, columns)] / (scale * BLOCK)
    if before is not None:
        moves = moves - (box[:2] + box[2:4] - before[:2] - before[2:4]) / 2
    return np.asarray(moves * (SIDE / sides), np.float32)
