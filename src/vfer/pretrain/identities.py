"""Faces with known subjects: collected, selected, and divided into those to train on and those held out."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.data.catalogue import stills
from vfer.data.catalogue.manifest import full_name
from vfer.data.catalogue.stills import SIDE
from vfer.errors import DataError

ROWS = 4096  # rows of a Parquet file that are decoded at once
KINDS = (
    "a Parquet file with the columns subject and image, a folder of pictures for each subject, a .keras file, "
    "or a folder with faceres-deep.json"
)
Row = tuple[str, str, NDArray[np.uint8] | str]
"""Subject, picture, and its face, uint8 (48, 48), or the reason why it has none."""


@dataclass(frozen=True)
class CollectedFaces:
    """All faces, uint8 (n, 48, 48), the number of each one's subject, int64 (n,), why other pictures were set aside, and all subjects."""

    pixels: NDArray[np.uint8]
    subjects: NDArray[np.int64]
    refusals: dict[str, str]
    names: list[str]

    @property
    def pictures(self) -> int:
        """How many pictures were looked at."""
        return len(self.subjects) + len(self.refusals)


@dataclass(frozen=True)
class IdentityFaces:
    """The n faces of the subjects that have enough of them.

    They are the `rows`, int64 (n,), of `pixels`, uint8 (m, 48, 48). `labels`, int64 (n,), number the subjects from 0; `held`, bool (n,),
    tells which faces are kept from the training. `names` are the subjects by number.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    names: list[str]

    @property
    def subjects(self) -> int:
        """How many subjects there are."""
        return int(self.labels.max()) + 1


def collect(rows: Iterable[Row], most: int, folder: Path) -> CollectedFaces:
    """Return the faces of at most `most` rows; they lie in a file of the folder that has no name and goes with the process.

    The file is mapped, so that 3 million faces, 7 GB, take as much memory as there is to spare.
    """
    pixels, subjects = _room(max(most, 1), folder), np.empty(most, np.int64)
    numbers: dict[str, int] = {}
    refusals: dict[str, str] = {}
    count = 0
    for subject, picture, face in rows:
        if isinstance(face, str):
            refusals[picture] = face
        else:
            pixels[count], subjects[count] = face, numbers.setdefault(subject, len(numbers))
            count += 1
    return CollectedFaces(pixels[:count], subjects[:count], refusals, list(numbers))


def _room(faces: int, folder: Path) -> NDArray[np.uint8]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and would be a crash when a page is written
            os.posix_fallocate(file.fileno(), 0, faces * SIDE * SIDE)
        return np.asarray(np.memmap(file, np.uint8, "r+", shape=(faces, SIDE, SIDE)))


def read(path: Path, folder: Path) -> tuple[CollectedFaces, int]:
    """Return the faces in a Parquet file with the columns `subject` and `image` (grey, 48x48, encoded), and how many rows have no subject.

    Where there is a column `usage`, only rows of usage train count, since the backbone must not see what the CNN is tested on.
    Raises `DataError` if it is no such file, or no row has a subject.
    """
    unnamed: list[int] = []
    try:
        parquet = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({_one_line(error)}); pretrain.identities is {KINDS}") from error
    with parquet:
        if not {"subject", "image"} <= set(parquet.schema_arrow.names):
            raise DataError(f"{path}: has no columns subject and image; pretrain.identities is {KINDS}")
        collected = collect(_rows(path, parquet, unnamed), parquet.metadata.num_rows, folder)
    if not collected.pictures:
        raise DataError(f"{path}: no row has a subject; name faces of known subjects as pretrain.identities, or turn pretrain.enabled off")
    return collected, len(unnamed)


def _rows(path: Path, parquet: pq.ParquetFile, unnamed: list[int]) -> Iterator[Row]:
    columns = [name for name in parquet.schema_arrow.names if name in ("subject", "image", "usage", "source")]
    number = -1
    try:
        for batch in parquet.iter_batches(ROWS, columns=columns):
            for row in batch.to_pylist():
                number += 1
                if row.get("usage", "train") != "train":
                    continue
                if row["subject"] is None:
                    unnamed.append(number)
                    continue
                subject = full_name(row.get("source") or path.stem, str(row["subject"]))
                face = stills.grey(row["image"] or b"")
                if face is None or face.shape != (SIDE, SIDE):
                    yield subject, f"row {number}", f"is not a {SIDE}x{SIDE} picture that can be decoded"
                else:
                    yield subject, f"row {number}", face
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: is damaged after row {number} ({_one_line(error)}); restore it") from error


def choose(faces: CollectedFaces, least: int, share: float, seed: int, where: Path) -> IdentityFaces:
    """Return the faces of the subjects that have at least `least` of them, with the share of each one's held out.

    Raises:
        DataError: If fewer than two subjects have as many.
    """
    counts = np.bincount(faces.subjects)
    enough = counts >= least
    if enough.sum() < 2:
        raise DataError(
            f"{where}: {enough.sum()} of {len(counts)} subjects have {least} faces or more, and two are needed; "
            "add faces, or lower pretrain.min_faces"
        )
    rows = np.flatnonzero(enough[faces.subjects])
    labels = (np.cumsum(enough) - 1)[faces.subjects[rows]]
    names = [faces.names[number] for number in np.flatnonzero(enough)]
    return IdentityFaces(faces.pixels, rows, labels, hold_out(labels, share, seed), names)


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Draw the share of each subject's faces, bool (n,): two at least, since one alone makes no pair, and never all."""
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)  # among the subject's own
    mask = np.empty(len(labels), bool)
    mask[order] = place < np.repeat(np.clip(np.round(share * counts), 2, counts - 1), counts)
    return mask


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
