"""Train a method on one fold and predict its test clips."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vfer.compare import motion
from vfer.compare.answers import Answers, Cost
from vfer.compare.methods.base import Method, MethodClips, Task
from vfer.data.catalogue import audit
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.faces import table as faces_table
from vfer.features.cache import Embeddings

T = TypeVar("T")
TIMED = 30
"""Clips that are answered one by one for the time that it takes."""


class Lazy(Sequence[T]):
    """Arrays, one a clip, that are read from their files each time they are asked for."""

    def __init__(self, paths: list[Path], read: Callable[[Path], T]) -> None:
        self._paths, self._read = paths, read

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> T:  # type: ignore[override]  # slices are not asked for
        return self._read(self._paths[number])


def crops(path: Path) -> NDArray[np.uint8]:
    """Return the crops of a clip's frames that show a face, uint8 (frames, 48, 48)."""
    faces = faces_table.read(path)
    return faces.crop[faces.present]


def clips_of(rows: list[SplitRow], names: list[str], embeddings: Mapping[str, Embeddings], faces: Path, moves: Path) -> MethodClips:
    """Return the clips that show a face, of those given; `faces` and `moves` are the folders of their tables."""
    with_face = [row for row in rows if len(embeddings[row.clip])]
    labels = np.array([names.index(row.expression) for row in with_face], np.int64)
    paths = [f"{row.clip}.parquet" for row in with_face]
    return MethodClips(
        labels,
        [embeddings[row.clip].values for row in with_face],
        [embeddings[row.clip].time for row in with_face],
        Lazy([faces / path for path in paths], crops),
        Lazy([moves / path for path in paths], motion.read),
    )


def run(
    fold: int,
    repeat: int,
    rows: list[SplitRow],
    names: list[str],
    method: Method,
    task: Task,
    clips: Callable[[list[SplitRow]], MethodClips],
) -> Answers:
    """Train on a fold and return the method's predictions for the test clips; one without a face gets a row of NaN.

    Raises `DataError` if no clip to train or to validate on shows a face, or all to train on show one expression.
    """
    train, validation, test = (clips([row for row in rows if row.part == part]) for part in ("train", "validation", "test"))
    for part, part_clips in (("train", train), ("validation", validation)):
        if not len(part_clips):
            raise DataError(f"fold {fold}: no clip of the part {part} shows a face; lower the number of folds or add clips")
    if len(set(train.labels.tolist())) < 2:
        only = names[int(train.labels[0])]
        raise DataError(f"fold {fold}: all clips to train on show {only}; lower the number of folds, add clips, or look at labels.clips")
    start = perf_counter()
    model = method(train, validation, task)
    seconds = perf_counter() - start
    tested = [row for row in rows if row.part == "test"]
    probabilities = np.full((len(tested), len(names)), np.nan, np.float32)
    milliseconds = 0.0
    if len(test):
        with_face = model.answer(test)
        places = [i for i, row in enumerate(tested) if len(clips([row]))]
        probabilities[places] = with_face
        milliseconds = _milliseconds(model.answer, [clips([tested[i]]) for i in places[:TIMED]])
    prior = np.bincount(train.labels, minlength=len(names)) / len(train)
    leaked = audit.leakage(rows)
    return Answers(
        fold, repeat, tested, probabilities, prior.astype(np.float32), names, leaked, Cost(model.parameters, seconds, milliseconds)
    )


def _milliseconds(answer: Callable[[MethodClips], object], single: list[MethodClips]) -> float:
    """Return the median time of an answer to one clip, after one that does not count."""
    answer(single[0])
    times = []
    for clip in single:
        start = perf_counter()
        answer(clip)
        times.append(1000 * (perf_counter() - start))
    return median(times)
