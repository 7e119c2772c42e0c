"""One clip's work: finds its face, follows it, crops it; what a worker process runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import ClipError
from vfer.faces import crop, table, track
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams

Picture = tuple[int, float, NDArray[np.uint8]]
Pictures = Callable[[], Iterable[Picture]]
Followed = tuple[NDArray[np.int32], NDArray[np.float64], track.Path]


@dataclass(frozen=True)
class FacesJob:
    """A clip's frames, and where its faces go."""

    clip: str
    source: Path
    target: Path
    about: str = ""


class Worker:
    """Makes the faces of clips with one detector, which a process builds once."""

    detector: Detector
    params: FacesParams

    @classmethod
    def start(cls, load: Callable[[], Detector], params: FacesParams) -> None:
        """Builds this process's detector, and keeps OpenCV to one thread, since the clips already fill the cores."""
        import cv2

        cv2.setNumThreads(1)
        cls.detector, cls.params = load(), params

    @classmethod
    def work(cls, job: FacesJob) -> dict[str, int]:
        """Writes one clip's faces and returns how many frames have each status; raises `ClipError` for damaged frames."""
        faces = find_in(job.source, cls.detector, cls.params)
        table.write(job.target, faces)
        return _counted(faces.status)


def statuses(path: Path) -> dict[str, int]:
    """Returns how many frames of a faces table have each status."""
    return _counted([str(status) for status in pq.read_table(path, columns=["status"])["status"].to_pylist()])


def _counted(status: Sequence[str]) -> dict[str, int]:
    return {name: list(status).count(name) for name in table.STATUSES}


def find_in(source: Path, detector: Detector, params: FacesParams) -> table.Faces:
    """Returns the faces in a frames table; raises `ClipError` where it is empty or damaged."""
    return find(partial(_pictures, source), _metadata(source), detector, params)


def find(pictures: Pictures, metadata: Mapping[str, str], detector: Detector, params: FacesParams) -> table.Faces:
    """Returns the faces in a clip's pictures; `metadata` is kept, and names what it was found with.

    `pictures` is called twice and yields (frame, seconds, (h, w) uint8) afresh: to detect, and to crop once it is known
    which face is followed; so no picture is held. Where `metadata` gives the framing `face`, each whole picture is the crop
    and nothing is detected.
    """
    given = metadata.get("framing") == "face"
    frames, times, path = _given(pictures()) if given else _followed(pictures(), detector, params)
    crops = np.zeros((len(frames), table.SIDE, table.SIDE), np.uint8)
    for index, (_, _, grey) in enumerate(pictures()):
        if path.status[index] != "none":
            crops[index] = crop.resize(grey) if given else crop.crop(grey, path.box[index], params.margin)
    name, sha256 = ("", "") if given else (detector.name, detector.sha256)
    full = {**metadata, "detector": name, "detector_sha256": sha256}
    return table.Faces(frames, times, path.status, path.score, path.box, crops, full)


def _followed(pictures: Iterable[Picture], detector: Detector, params: FacesParams) -> Followed:
    frames, times, found, size = [], [], [], (0, 0)
    for frame, time, grey in pictures:
        frames.append(frame)
        times.append(time)
        found.append(detector(grey))
        size = grey.shape[1], grey.shape[0]
    seconds = np.array(times, np.float64)
    return np.array(frames, np.int32), seconds, track.follow(found, seconds, size, params.follow, params.max_gap)


def _given(pictures: Iterable[Picture]) -> Followed:
    rows = [(frame, time, (0, 0, grey.shape[1], grey.shape[0])) for frame, time, grey in pictures]
    frames, times, boxes = (list(column) for column in zip(*rows, strict=True))
    path = track.Path(["given"] * len(rows), np.full(len(rows), np.nan, np.float32), np.array(boxes, np.float32))
    return np.array(frames, np.int32), np.array(times, np.float64), path


def _metadata(source: Path) -> dict[str, str]:
    metadata = _open(source).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items() if not key.startswith(b"ARROW")}


def _pictures(source: Path) -> Iterator[Picture]:
    import cv2

    parquet = _open(source)
    try:
        for group in range(parquet.num_row_groups):
            rows = parquet.read_row_group(group, columns=["frame", "time", "jpeg"]).to_pydict()
            for frame, time, jpeg in zip(rows["frame"], rows["time"], rows["jpeg"], strict=True):
                grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
                if grey is None:
                    raise ClipError(f"{source}: frame {frame} is no JPEG; run `dvc repro frames`")
                yield frame, time, np.asarray(grey, np.uint8)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ClipError(f"{source}: is no frames table or is damaged; run `dvc repro frames`") from error


def _open(source: Path) -> pq.ParquetFile:
    try:
        parquet = pq.ParquetFile(source)
    except (OSError, pa.ArrowException) as error:
        raise ClipError(f"{source}: is no readable Parquet file; run `dvc repro frames`") from error
    if not parquet.metadata.num_rows:
        raise ClipError(f"{source}: holds no frames; check the clip")
    return parquet
