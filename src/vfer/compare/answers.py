"""A method's predictions for its test clips and its cost: one row per clip, in one Parquet file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.files import replacing

SHARE = "p_"
COST = b"vfer"
PLACE = ("fold", "repeat")
ROW = ("clip", "expression", "subject", "recording", "source", "reason")


@dataclass(frozen=True)
class Cost:
    """What a fold's method took: numbers that it learned, seconds of learning, and milliseconds a clip of answering one by one."""

    parameters: int
    seconds: float
    milliseconds: float


@dataclass(frozen=True)
class Answers:
    """n test clips of a fold, and the probabilities of `classes`, float32 (n, classes); a row of NaN is not an answer.

    `repeat` counts the trainings on the fold, each from another seed, from 0. `prior` are the classes' shares of the training clips, and
    `leakage` the shares of the test clips whose recording, or subject, was seen in training.
    """

    fold: int
    repeat: int
    rows: list[SplitRow]
    probabilities: NDArray[np.float32]
    prior: NDArray[np.float32]
    classes: list[str]
    leakage: dict[str, float]
    cost: Cost


def write(path: Path, folds: Sequence[Answers]) -> None:
    """Write the folds, one at least, atomically."""
    columns: dict[str, object] = {name: pa.array([getattr(row, name) for fold in folds for row in fold.rows], pa.string()) for name in ROW}
    for name in PLACE:
        columns[name] = pa.array([getattr(fold, name) for fold in folds for _ in fold.rows], pa.int32())
    shares = np.concatenate([fold.probabilities for fold in folds])
    columns |= {f"{SHARE}{name}": shares[:, i] for i, name in enumerate(folds[0].classes)}
    about = [
        {name: getattr(fold, name) for name in PLACE}
        | {"cost": vars(fold.cost), "prior": [float(share) for share in fold.prior], "leakage": fold.leakage}
        for fold in folds
    ]
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata({COST: json.dumps(about).encode()}), temporary)


def read(path: Path) -> list[Answers]:
    """Read the folds, those of the first seed first; raise `DataError` if the file is missing or is no such table."""
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[COST])
        classes = [name.removeprefix(SHARE) for name in table.column_names if name.startswith(SHARE)]
        return [_fold(table, one, classes) for one in sorted(about, key=lambda one: (one["repeat"], one["fold"]))]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable table of a method's answers; run `make compare`") from error


def _fold(table: pa.Table, about: dict[str, Any], classes: list[str]) -> Answers:
    fold, repeat = (int(about[name]) for name in PLACE)
    fold_rows = table.filter((pc.field("fold") == fold) & (pc.field("repeat") == repeat))
    rows = [SplitRow(**row, part="test") for row in fold_rows.select(ROW).to_pylist()]
    shares = np.array([fold_rows[f"{SHARE}{name}"].to_numpy() for name in classes], np.float32).reshape(len(classes), len(rows)).T
    return Answers(fold, repeat, rows, shares, np.array(about["prior"], np.float32), classes, about["leakage"], Cost(**about["cost"]))
