"""The stage `frames`: the sampled frames of a clip as a table of grey pictures with their index and presentation time."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from vfer.errors import ClipError
from vfer.files import replacing
from vfer.params import Params
from vfer.video import decode as video
from vfer.video import jpeg
from vfer.video.decode import Frame

_FIELDS: "list[pa.Field[Any]]" = [pa.field("frame", pa.int32()), pa.field("time", pa.float64()), pa.field("jpeg", pa.binary())]
FRAMES_SCHEMA = pa.schema(_FIELDS)
MAX_MEMORY = 4 << 30
"""Bytes that a worker process may hold while it decodes; FFmpeg's answer to a file that asks for more is that it cannot be decoded."""
ROWS = 64  # a row group; it bounds what a reader holds in memory


class FramesParams(Params):
    """The `frames` section of params.yaml; each key is explained there."""

    fps: Annotated[float, Field(gt=0, le=1000)] = 10
    max_side: Annotated[int, Field(ge=48, le=8192)] = 640
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    min_frames: Annotated[int, Field(ge=1)] = 2
    max_seconds: Annotated[float, Field(gt=0)] = 1800
    timeout: Annotated[float, Field(gt=0)] = 900
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.1


@dataclass(frozen=True)
class FramesJob:
    """One clip's work: the video file, and the table to write."""

    clip: str
    source: Path
    target: Path
    framing: str
    params: FramesParams

    @property
    def about(self) -> str:
        """What the table holds of the clip beside its content."""
        return self.framing


@dataclass(frozen=True)
class FramesSummary:
    """How many frames a table holds, and what was tolerated or not honoured when they were decoded."""

    frames: int
    notes: tuple[str, ...] = ()


def sample(path: Path, fps: float, max_side: int, *, longest: float | None = None, notes: Counter[str] | None = None) -> Iterator[Frame]:
    """Decode a video from start to end and yield about `fps` frames a second of it, as `decode.frames` does."""
    return video.frames(path, fps, max_side, longest=longest, notes=notes)


def start() -> None:
    """Prepare a worker process: one thread, since clips run side by side, and a bound on memory, since some files ask for all of it."""
    import resource

    cv2.setNumThreads(1)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard), hard))


def write(job: FramesJob) -> FramesSummary:
    """Write one clip's frames table, atomically, a row group at a time.

    Raises `ClipError`, and leaves no table, where the clip cannot be decoded or gives too few frames.
    """
    with replacing(job.target) as temporary:
        summary = _write(job, temporary)
        if summary.frames < job.params.min_frames:
            least = f"fewer than frames.min_frames ({job.params.min_frames})"
            raise ClipError(f"{job.source}: gives {summary.frames} frame{'s' * (summary.frames != 1)}, {least}; remove it")
    return summary


def _write(job: FramesJob, path: Path) -> FramesSummary:
    count, notes = 0, Counter[str]()
    writer = None
    rows: list[dict[str, object]] = []
    params = job.params
    try:
        for frame in sample(job.source, params.fps, params.max_side, longest=params.max_seconds, notes=notes):
            if writer is None:
                writer = pq.ParquetWriter(path, FRAMES_SCHEMA.with_metadata(_metadata(job, frame)), compression="none")
            rows.append({"frame": frame.index, "time": frame.time, "jpeg": jpeg.encode(frame.grey, params.jpeg_quality)})
            count += 1
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, FRAMES_SCHEMA))
                rows.clear()
        phrases = tuple(sorted(+notes))
        if writer and rows:
            writer.write_table(pa.Table.from_pylist(rows, FRAMES_SCHEMA))
        if writer and phrases:
            writer.add_key_value_metadata({"notes": json.dumps(phrases)})
    finally:
        if writer:
            writer.close()
    return FramesSummary(count, phrases)


def summary_of(path: Path) -> FramesSummary:
    """Return what `write` returned when it wrote a frames table."""
    metadata = pq.read_metadata(path)
    return FramesSummary(int(metadata.num_rows), tuple(json.loads((metadata.metadata or {}).get(b"notes", b"[]"))))


def _metadata(job: FramesJob, frame: Frame) -> dict[str, str]:
    height, width = frame.grey.shape
    return {"framing": job.framing, "width": str(width), "height": str(height)}
