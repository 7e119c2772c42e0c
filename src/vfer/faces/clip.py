"""The work on one clip, in a worker process: find its face, follow it, and crop it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import ClipError
from vfer.faces import crop, table, track
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.faces.search import search
from vfer.faces.worker import DetectorWorker
from vfer.video import jpeg

Grey = NDArray[np.uint8]
Picture = tuple[int, float, Callable[[], Grey]]
Pictures = Callable[[], Iterable[Picture]]
MAX_CROPS = 4096  # crops kept while it is open which face is followed, 9 MB; in a clip that has more, later pictures are decoded twice
NOTHING = np.zeros((table.SIDE, table.SIDE), np.uint8)


class _FaceRow(NamedTuple):
    """One frame of the faces table."""

    frame: int
    time: float
    status: str
    score: float
    box: NDArray[np.float32]
    crop: Grey


@dataclass(frozen=True)
class FacesJob:
    """A clip's frames, and where its faces go."""

    clip: str
    source: Path
    target: Path
    about: str = ""


class FacesWorker(DetectorWorker):
    """Finds the faces of clips."""

    @classmethod
    def work(cls, job: FacesJob) -> dict[str, int]:
        """Write one clip's faces and return how many frames have each status.

        Raises:
            ClipError: For damaged frames.
        """
        pictures = partial(_pictures, job.source)
        return table.write_parts(job.target, find_parts(pictures, _metadata(job.source), cls.detector, cls.params))


def find_in(source: Path, detector: Detector, params: FacesParams) -> table.Faces:
    """Return the faces in a frames table.

    Raises:
        ClipError: If it is empty or damaged.
    """
    return find(partial(_pictures, source), _metadata(source), detector, params)


def find(pictures: Pictures, metadata: Mapping[str, str], detector: Detector, params: FacesParams) -> table.Faces:
    """Return the faces in a clip's pictures, of which there is one at least, as `find_parts` does, in one piece."""
    return table.join(list(find_parts(pictures, metadata, detector, params)))


def find_parts(pictures: Pictures, metadata: Mapping[str, str], detector: Detector, params: FacesParams) -> Iterator[table.Faces]:
    """Yield the faces in a clip's pictures, a row group at a time; `metadata` is kept, and names what they were found with.

    `pictures` is called twice and yields (frame, seconds, a function that decodes the (h, w) uint8 picture) afresh: to search,
    and to crop once it is known which face is followed. Only few pictures are held, and few are decoded twice. Where `metadata`
    gives the framing `face`, each whole picture is the crop and nothing is detected.
    """
    cropped = metadata.get("framing") == "face"
    name, sha256 = ("", "") if cropped else (detector.name, detector.sha256)
    full = {**metadata, "detector": name, "detector_sha256": sha256}
    rows = _of_crops(pictures()) if cropped else _of_scenes(pictures, detector, params)
    while part := list(islice(rows, table.ROWS)):
        frame, time, status, score, box, crops = zip(*part, strict=True)
        numbers = np.array(frame, np.int32), np.array(time, np.float64), list(status), np.array(score, np.float32)
        yield table.Faces(*numbers, np.stack(box), np.stack(crops), full)


def _of_crops(pictures: Iterable[Picture]) -> Iterator[_FaceRow]:
    for frame, time, decode in pictures:
        grey = decode()
        yield _FaceRow(frame, time, "given", np.nan, np.array([0, 0, *grey.shape[::-1]], np.float32), crop.resize(grey))


def _of_scenes(pictures: Pictures, detector: Detector, params: FacesParams) -> Iterator[_FaceRow]:
    times: list[float] = []
    detections: list[NDArray[np.float32]] = []
    tracked: set[int] = set()
    crops: dict[tuple[int, bytes], Grey] = {}
    size = (0, 0)
    for index, picture in enumerate(search(((frame, time, decode()) for frame, time, decode in pictures()), detector, params)):
        times.append(picture.time)
        detections.append(picture.boxes)
        size = picture.grey.shape[1], picture.grey.shape[0]
        if picture.tracked:
            tracked.add(index)
        for box in picture.boxes[: MAX_CROPS - len(crops), :4]:
            crops[index, box.tobytes()] = crop.crop(picture.grey, box, params.margin)
    path = track.follow(detections, np.array(times, np.float64), size, params.follow, params.max_gap, tracked)
    for index, (frame, time, decode) in enumerate(pictures()):
        box = path.box[index]
        face = NOTHING if path.status[index] == "none" else crops.pop((index, box.tobytes()), None)
        if face is None:
            face = crop.crop(decode(), box, params.margin)
        yield _FaceRow(frame, time, path.status[index], path.score[index], box, face)


def _metadata(source: Path) -> dict[str, str]:
    metadata = _open(source).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items() if not key.startswith(b"ARROW")}


def _pictures(source: Path) -> Iterator[Picture]:
    parquet = _open(source)
    try:
        for group in range(parquet.num_row_groups):
            rows = parquet.read_row_group(group, columns=["frame", "time", "jpeg"]).to_pydict()
            for frame, time, picture in zip(rows["frame"], rows["time"], rows["jpeg"], strict=True):
                yield frame, time, partial(jpeg.decode, picture, f"{source}: frame {frame}")
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ClipError(f"{source}: is not a frames table or is damaged; run `dvc repro frames`") from error


def _open(source: Path) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(source)
    except (OSError, pa.ArrowException) as error:
        raise ClipError(f"{source}: is not a readable Parquet file; run `dvc repro frames`") from error
    if not parquet.metadata.num_rows:
        raise ClipError(f"{source}: holds no frames; check the clip")
    return parquet
