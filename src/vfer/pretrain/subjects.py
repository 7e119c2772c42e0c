"""The work on one subject's pictures, in a worker process: find and crop the face in each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.data.catalogue import stills
from vfer.data.catalogue.stills import SIDE
from vfer.faces import crop, track
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.faces.worker import DetectorWorker
from vfer.files import replacing

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
SCHEMA = pa.schema(
    (
        pa.field("picture", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("crop", pa.binary(SIDE * SIDE)),
    )
)
"""One row per picture: its 48x48 grey face, or the reason why it has none."""


@dataclass(frozen=True)
class SubjectJob:
    """A subject's folder of pictures, and where its faces go."""

    clip: str
    source: Path
    target: Path
    about: str = ""


class SubjectsWorker(DetectorWorker):
    """Finds the faces of subjects."""

    @classmethod
    def work(cls, job: SubjectJob) -> int:
        """Write one subject's faces and return how many pictures it has."""
        names = pictures(job.source)
        results = [_face(job.source / name, cls.detector, cls.params) for name in names]
        reasons = [face if isinstance(face, str) else None for face in results]
        crops = [None if isinstance(face, str) else face.tobytes() for face in results]
        # Not compressed, as in the faces tables: crops are too noisy for it.
        with replacing(job.target) as temporary:
            pq.write_table(pa.table([names, reasons, crops], schema=SCHEMA), temporary, compression="none")
        return len(names)


def pictures(folder: Path) -> list[str]:
    """Return the names of the pictures in a subject's folder, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def count(path: Path) -> int:
    """Return how many pictures a subject's table tells of."""
    return int(pq.read_metadata(path).num_rows)


def read(path: Path) -> Iterator[tuple[str, NDArray[np.uint8] | str]]:
    """Yield each picture's name with its face, (48, 48) uint8, or with the reason why it has none."""
    table = pq.read_table(path)
    for name, reason, face in zip(*(table[column].to_pylist() for column in SCHEMA.names), strict=True):
        yield name, reason if face is None else np.frombuffer(face, np.uint8).reshape(SIDE, SIDE)


def _face(path: Path, detector: Detector, params: FacesParams) -> NDArray[np.uint8] | str:
    try:
        grey = stills.grey(path.read_bytes())
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if grey is None:
        return "is not a picture that can be decoded"
    tracked = track.follow([detector(grey)], np.zeros(1), (grey.shape[1], grey.shape[0]), params.follow, 0)
    return crop.crop(grey, tracked.box[0], params.margin) if tracked.status == ["detected"] else "shows no face"
