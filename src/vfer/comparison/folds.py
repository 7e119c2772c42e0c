"""Trains a method on one fold's clips and lets it answer for the tested ones."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vfer.comparison.answers import Answers, Cost
from vfer.errors import DataError
from vfer.faces import table as faces_table
from vfer.methods.base import Clips, Method, Task
from vfer.split import Row

TIMED = 30
"""Clips that are answered one by one for the time that it takes."""


class Crops(Sequence[NDArray[np.uint8]]):
    """The crops of clips, uint8 (frames, 48, 48) each, read from their files when they are asked for; frames without a face are left out."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> NDArray[np.uint8]:  # type: ignore[override]  # slices are not asked for
        found = faces_table.read(self._paths[number])
        return found.crop[found.present]


def clips_of(rows: list[Row], names: list[str], embeddings: Mapping[str, NDArray[np.float32]], faces: Path) -> Clips:
    """Returns the clips that show a face, of those given."""
    shown = [row for row in rows if len(embeddings[row.clip])]
    labels = np.array([names.index(row.expression) for row in shown], np.int64)
    return Clips(labels, [embeddings[row.clip] for row in shown], Crops([faces / f"{row.clip}.parquet" for row in shown]))


def run(fold: int, rows: list[Row], names: list[str], method: Method, task: Task, clips: Callable[[list[Row]], Clips]) -> Answers:
    """Trains on a fold and returns what the method says of each test clip; one without a face gets a row of NaN.

    Raises `DataError` where no clip to train or to validate on shows a face.
    """
    train, validation, test = (clips([row for row in rows if row.part == part]) for part in ("train", "validation", "test"))
    for part, found in (("train", train), ("validation", validation)):
        if not len(found):
            raise DataError(f"fold {fold}: no clip of the part {part} shows a face; lower the number of folds or add clips")
    start = perf_counter()
    fitted = method(train, validation, task)
    seconds = perf_counter() - start
    tested = [row for row in rows if row.part == "test"]
    said = np.full((len(tested), len(names)), np.nan, np.float32)
    milliseconds = 0.0
    if len(test):
        answered = fitted.answer(test)
        places = [i for i, row in enumerate(tested) if len(clips([row]))]
        said[places] = answered
        milliseconds = _milliseconds(fitted.answer, [clips([tested[i]]) for i in places[:TIMED]])
    prior = np.bincount(train.labels, minlength=len(names)) / len(train)
    return Answers(fold, tested, said, prior.astype(np.float32), names, Cost(fitted.parameters, seconds, milliseconds))


def _milliseconds(answer: Callable[[Clips], object], single: list[Clips]) -> float:
    """Returns the median time of an answer to one clip, after one that does not count."""
    answer(single[0])
    times = []
    for clip in single:
        start = perf_counter()
        answer(clip)
        times.append(1000 * (perf_counter() - start))
    return median(times)
