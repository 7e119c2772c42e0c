"""Splits clips into train, validation and test: one fold tests, the next validates, the others train."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vfer.artifacts import replacing
from vfer.errors import DataError
from vfer.manifest import Clip
from vfer.params import Params

PARTS = ("train", "validation", "test")
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field(name, pa.string(), nullable=False) for name in ("clip", "expression", "subject", "recording", "source", "part")
]
SPLIT_SCHEMA = pa.schema(_FIELDS)


class SplitParams(Params):
    """The `split` section of params.yaml.

    `random` is the paper's: files are drawn at random, so that actors and twin files stand on both sides (10 folds give its
    80:10:10). `subject` keeps every actor on one side. Both keep the expressions' shares alike.
    """

    protocol: Literal["random", "subject"]
    folds: Annotated[int, Field(ge=3, le=1000)]
    fold: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_fold(self) -> "SplitParams":
        if self.fold >= self.folds:
            raise ValueError(f"fold is counted from 0 and must be less than folds ({self.folds})")
        return self


@dataclass(frozen=True)
class Row:
    """One clip of the split, under its merged expression."""

    clip: str
    expression: str
    subject: str
    recording: str
    source: str
    part: str


def split(clips: list[Clip], expressions: list[str], params: SplitParams, seed: int, where: Path) -> list[Row]:
    """Assigns each clip, with its merged expression, to a part; deterministic by seed, whatever the order of the clips.

    Raises `DataError` where there are fewer subjects, or fewer clips, than folds.
    """
    order = sorted(range(len(clips)), key=lambda i: clips[i].clip)
    clips, expressions = [clips[i] for i in order], [expressions[i] for i in order]
    folds = _folds(clips, expressions, params, seed, where)
    validating = (params.fold + 1) % params.folds
    parts = ["test" if fold == params.fold else "validation" if fold == validating else "train" for fold in folds]
    return [
        Row(clip.clip, expression, clip.subject, clip.recording, clip.source, part)
        for clip, expression, part in zip(clips, expressions, parts, strict=True)
    ]


def _folds(clips: list[Clip], expressions: list[str], params: SplitParams, seed: int, where: Path) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = [clip.subject if params.protocol == "subject" else clip.clip for clip in clips]
    kind = "subjects" if params.protocol == "subject" else "clips"
    if len(set(groups)) < params.folds:
        raise DataError(f"{where}: {len(set(groups))} {kind} cannot fill {params.folds} folds; lower split.folds or add data")
    by_subject = params.protocol == "subject"
    splitter = StratifiedGroupKFold if by_subject else StratifiedKFold
    folds = np.zeros(len(clips), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        try:
            folded = splitter(params.folds, shuffle=True, random_state=seed)
            chosen = folded.split(np.zeros(len(clips)), expressions, groups if by_subject else None)
            for number, (_, rows) in enumerate(chosen):
                folds[rows] = number
        except ValueError as error:
            raise DataError(f"{where}: no expression has as many clips as split.folds ({params.folds}); lower it or add data") from error
    return folds


def write(path: Path, rows: list[Row]) -> None:
    """Writes the split as a Parquet table of `SPLIT_SCHEMA`, atomically."""
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], SPLIT_SCHEMA), temporary)


def read(path: Path) -> list[Row]:
    """Reads a split; raises `DataError` where the file is missing or is no such table."""
    try:
        table = pq.read_table(path).cast(SPLIT_SCHEMA)  # which refuses other columns and empty values
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: is no split that can be read; run `dvc repro lstm`") from error
    return [Row(**row) for row in table.to_pylist()]
