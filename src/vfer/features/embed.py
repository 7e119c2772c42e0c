"""Embed the faces of clips with the CNN that is cut before its last layer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.faces import table as faces_table
from vfer.features.cache import Sequence, write_part
from vfer.nets.session import Session

BATCH = 256  # crops per call of the CNN


def embed(session: Session, clip: str, faces: faces_table.Faces, batch_size: int = BATCH) -> Sequence:
    """Run the cut CNN over the crops of one clip, `batch_size` at a time, which changes no bit of the result."""
    crops = faces.crop[faces.present][..., np.newaxis]
    parts = [session(crops[at : at + batch_size]) for at in range(0, len(crops), batch_size)] or [session(np.zeros((1, 48, 48, 1)))]
    embedding, probabilities = (_spread(parts, name, faces.present) for name in ("embedding", "probabilities"))
    return Sequence(clip, faces.frame, faces.time, np.array(faces.status), embedding, probabilities)


@dataclass(frozen=True)
class FeaturesJob:
    """A clip's faces, and the part of the cache that is made of them."""

    clip: str
    source: Path
    target: Path
    about: str = ""


class FeaturesWorker:
    """Makes the parts of clips with one session of the cut CNN, which a process loads once."""

    session: Session

    @classmethod
    def start(cls, model: Path) -> None:
        """Load this process's session, on one thread, since the clips already fill the cores."""
        cls.session = Session(model)

    @classmethod
    def work(cls, job: FeaturesJob) -> int:
        """Write one clip's part and return its number of rows."""
        return write_part(job.target, (embed(cls.session, job.clip, piece) for piece in faces_table.pieces(job.source)))


def _spread(parts: list[dict[str, NDArray[np.float32]]], name: str, present: NDArray[np.bool_]) -> NDArray[np.float32]:
    values = np.concatenate([part[name] for part in parts])
    spread = np.zeros((len(present), values.shape[1]), np.float32)
    spread[present] = values[: present.sum()]
    return spread
