"""Decodes clips and samples their frames: grey pictures with their index and presentation time."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from pydantic import Field

from vfer.data.manifest import Framing
from vfer.errors import ClipError
from vfer.files import replacing
from vfer.params import Params

_FIELDS: "list[pa.Field[Any]]" = [pa.field("frame", pa.int32()), pa.field("time", pa.float64()), pa.field("jpeg", pa.binary())]
FRAMES_SCHEMA = pa.schema(_FIELDS)
ROWS = 64  # a row group; it bounds what a reader holds in memory
LUMA_FIRST = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "gray")
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
EXPAND = np.clip((np.arange(256) - 16) * 255 / 219 + 0.5, 0, 255).astype(np.uint8)
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class FramesParams(Params):
    """The `frames` section of params.yaml; each key is explained where it stands there."""

    fps: Annotated[float, Field(gt=0, le=1000)]
    max_side: Annotated[int, Field(ge=48, le=8192)]
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    min_frames: Annotated[int, Field(ge=1)]
    max_bad: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Frame:
    """One sampled frame: its index among all frames, its presentation time in seconds, and grey pixels, uint8 (h, w)."""

    index: int
    time: float
    grey: NDArray[np.uint8]


@dataclass(frozen=True)
class FramesJob:
    """One clip's work: the video file, and the table to write."""

    clip: str
    source: Path
    target: Path
    framing: Framing
    params: FramesParams

    @property
    def about(self) -> str:
        """What the table holds of the clip beside its content."""
        return self.framing


def sample(path: Path, fps: float, max_side: int) -> Iterator[Frame]:
    """Decodes a video from start to end and yields about `fps` frames a second of it, the first frame always.

    Pixels are upright, of full range, and shrunk to `max_side`. A frame is taken where its presentation time reaches the
    next tick, so a video of variable rate is sampled evenly in time. Raises `ClipError` where the file is missing, empty or
    truncated, has no video stream, or cannot be decoded.
    """
    count = declared = 0
    shown = seconds = 0.0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # a title in Latin-1 is no reason to refuse a clip
            if not container.streams.video:
                raise ClipError(f"{path}: has no video stream; give a video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # clips run side by side, one thread each
            rate = float(stream.average_rate or 25)
            declared, seconds = stream.frames, float((stream.duration or 0) * (stream.time_base or 0))
            order, spare = _spare(path, fps) if rate > fps else ([], set())
            start, ticks = None, _Ticks(fps)
            for frame in _decode(container, spare):
                if start is None and order and frame.pts != order[0]:
                    order.clear()  # the first frames do not decode, so other ones reach the ticks
                    spare.clear()
                count = bisect_left(order, frame.pts) + 1 if order and frame.pts is not None else count + 1
                time = frame.time if frame.time is not None else (count - 1) / rate
                start = time if start is None else start
                shown = time - start + float(frame.duration * (frame.time_base or 0))
                if ticks.take(time - start):
                    yield Frame(count - 1, round(time - start, 6), upright(frame, max_side))
    except (FFmpegError, OSError) as error:
        raise ClipError(f"{path}: cannot be decoded ({_reason(path, error)}); replace the file or take it out") from error
    if not count:
        raise ClipError(f"{path}: holds no frame that decodes; replace the file or take it out")
    # An edit list hides frames of a clip that was trimmed without encoding it again; the seconds know of it, the count does not.
    if count < 0.9 * declared and shown < 0.9 * seconds:
        raise ClipError(f"{path}: is truncated, {count} of {declared} frames decode; replace the file or take it out")


class _Ticks:
    """Takes `fps` frames a second: each one whose time reaches the next tick."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next = 0

    def take(self, time: float) -> bool:
        """Says whether the next frame, shown at `time` seconds, is taken."""
        if time < self._next / self._fps - 1e-6:
            return False
        self._next = max(self._next + 1, int(time * self._fps + 1e-6) + 1)
        return True


def _spare(path: Path, fps: float) -> tuple[list[int], set[int]]:
    """Returns the presentation times of a video's frames in order, and which of them no tick takes; nothing where packets lack them.

    A decoder may leave out such a frame where no other is predicted from it: with B-frames, sampling 10 of 30 frames a second
    costs 27 % less, for the same pixels.
    """
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        told = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
        base = float(stream.time_base or 0)
    order = sorted({time for time in told if time is not None})
    if len(order) < len(told):
        return [], set()
    ticks = _Ticks(fps)
    return order, {time for time in order[:-1] if not ticks.take((time - order[0]) * base)}  # the last one tells how long the video is


def _decode(container: InputContainer, spare: set[int]) -> Iterator[VideoFrame]:
    stream = container.streams.video[0]
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = "NONREF" if packet.pts in spare else "DEFAULT"
        yield from packet.decode()


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "there is no such file"
    return "the file is empty" if not path.stat().st_size else str(getattr(error, "strerror", None) or error)


def upright(frame: VideoFrame, max_side: int) -> NDArray[np.uint8]:
    """Returns a decoded frame's luma, uint8 (h, w), of full range, its longer side at most `max_side`, turned as its tag says."""
    grey, limited = _luma(frame)
    height, width = grey.shape
    scale = max_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if limited:  # after shrinking, when there is less to expand
        grey = cv2.LUT(grey, EXPAND)  # type: ignore[assignment]
    elif scale >= 1:
        grey = grey.copy()  # the decoder's memory is used again
    turn = TURNS.get(frame.rotation % 360)
    return grey if turn is None else cv2.rotate(grey, turn)  # type: ignore[return-value]


def _luma(frame: VideoFrame) -> tuple[NDArray[np.uint8], bool]:
    """Returns a view of a decoded frame's luma, or a grey copy, and whether its range is limited to 16 to 235."""
    name = frame.format.name
    if name not in LUMA_FIRST:
        return frame.to_ndarray(format="gray").astype(np.uint8, copy=False), False
    plane = frame.planes[0]
    grey = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return grey, not (name == "gray" or name.startswith("yuvj") or frame.color_range == FULL_RANGE)


def write(job: FramesJob) -> int:
    """Writes one clip's frames table, atomically, a row group at a time; returns the number of frames.

    Raises `ClipError`, and leaves no table, where the clip cannot be decoded or gives too few frames.
    """
    cv2.setNumThreads(1)  # clips run side by side, one thread each
    with replacing(job.target) as temporary:
        written = _write(job, temporary)
        if written < job.params.min_frames:
            raise ClipError(f"{job.source}: gives {written} frame, fewer than frames.min_frames ({job.params.min_frames}); take it out")
    return written


def _write(job: FramesJob, path: Path) -> int:
    written = 0
    writer = None
    rows: list[dict[str, object]] = []
    try:
        for frame in sample(job.source, job.params.fps, job.params.max_side):
            if writer is None:
                writer = pq.ParquetWriter(path, FRAMES_SCHEMA.with_metadata(_metadata(job, frame)), compression="none")
            rows.append({"frame": frame.index, "time": frame.time, "jpeg": encode(frame.grey, job.params.jpeg_quality)})
            written += 1
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, FRAMES_SCHEMA))
                rows.clear()
        if writer and rows:
            writer.write_table(pa.Table.from_pylist(rows, FRAMES_SCHEMA))
    finally:
        if writer:
            writer.close()
    return written


def frames_in(path: Path) -> int:
    """Returns the number of frames in a frames table."""
    return int(pq.read_metadata(path).num_rows)


def encode(grey: NDArray[np.uint8], quality: int) -> bytes:
    """Returns a grey picture as JPEG."""
    return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def decode(jpeg: bytes) -> NDArray[np.uint8]:
    """Returns the grey picture in a JPEG, uint8 (h, w); raises `ClipError` where it is damaged."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ClipError("a stored frame is no JPEG that decodes; run `dvc repro frames`")
    return grey.astype(np.uint8, copy=False)


def _metadata(job: FramesJob, frame: Frame) -> dict[str, str]:
    height, width = frame.grey.shape
    return {"framing": job.framing, "width": str(width), "height": str(height)}
