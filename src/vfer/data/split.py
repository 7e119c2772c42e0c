"""Splits clips into train, validation and test, by a protocol that says who may stand on both sides."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vfer.data.manifest import Clip
from vfer.errors import DataError
from vfer.files import replacing
from vfer.params import Params

PARTS = ("train", "validation", "test")
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field(name, pa.string(), nullable=False) for name in ("clip", "expression", "subject", "recording", "source", "part", "reason")
]
SPLIT_SCHEMA = pa.schema(_FIELDS)

Protocol = Literal["random", "recording", "subject"]
FoldCount = Annotated[int, Field(ge=3, le=1000)] | Literal["each", "ravdess"]
PUBLISHED = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
"""RAVDESS's actors in folds. Source: Luna-Jimenez et al., "Multimodal Emotion Recognition on RAVDESS Dataset Using Transfer
Learning", 2021."""
VERBS = {"train": "trains", "validation": "validates", "test": "tests"}
MEANING = {
    "train": ", which the model cannot learn",
    "validation": ", which has no say in the choice of the epoch",
    "test": ", so that no figure tells how it does there",
}
VALIDATING = 10
"""Of single subjects as folds, one in so many validates: one alone would choose the epoch by a few clips."""


class SplitParams(Params):
    """The `split` section of params.yaml.

    `random` is the paper's: files are drawn at random, so that actors and twin files stand on both sides (10 folds give its 80:10:10).
    `recording` keeps the files of one recording on one side, and `subject` all of an actor. All of them keep the expressions' shares
    alike, as far as whole recordings or subjects allow. `folds` is a number, or, by subject, `each`, which tests every subject alone, or
    `ravdess`, the five folds of actors that are published.
    """

    protocol: Protocol
    folds: FoldCount
    fold: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_folds(self) -> "SplitParams":
        if isinstance(self.folds, str):
            if self.protocol != "subject":
                raise ValueError(f"folds: {self.folds} goes with protocol: subject alone; give a number of folds")
        elif self.fold >= self.folds:
            raise ValueError(f"fold is counted from 0 and must be less than folds ({self.folds})")
        return self


@dataclass(frozen=True)
class Row:
    """One clip of the split, under its merged expression, and why it is in its part."""

    clip: str
    expression: str
    subject: str
    recording: str
    source: str
    part: str
    reason: str = ""


def split(clips: list[Clip], expressions: list[str], params: SplitParams, seed: int, where: Path) -> list[Row]:
    """Assigns each clip, with its merged expression, to a part; deterministic by seed, whatever the order of the clips.

    One fold tests, the next ones in a ring validate, and the others train. Raises `DataError` where there are fewer subjects, recordings
    or clips than folds, no such fold, or, of the folds `ravdess`, a clip of somebody else.
    """
    order = sorted(range(len(clips)), key=lambda i: clips[i].clip)
    clips, expressions = [clips[i] for i in order], [expressions[i] for i in order]
    folds = _folds(clips, expressions, params, seed, where)
    count = int(folds.max()) + 1
    if params.fold >= count:
        raise DataError(f"{where}: split.fold {params.fold} is not there; {params.folds} gives the folds 0 to {count - 1}")
    ring = np.random.default_rng(seed).permutation(count) if params.folds == "each" else np.arange(count)
    follows = int(np.flatnonzero(ring == params.fold)[0]) + 1 + np.arange(_validating(params, count))
    validating = set(ring[follows % count].tolist())
    rows = []
    for clip, expression, fold in zip(clips, expressions, folds.tolist(), strict=True):
        part = "test" if fold == params.fold else "validation" if fold in validating else "train"
        reason = f"{_group(clip, params.protocol)} is in fold {fold} of {count}, which {VERBS[part]}"
        rows.append(Row(clip.clip, expression, clip.subject, clip.recording, clip.source, part, reason))
    return rows


def number_of_folds(clips: list[Clip], params: SplitParams) -> int:
    """Returns how many folds these clips have."""
    if params.folds == "each":
        return len({clip.subject for clip in clips})
    return len(PUBLISHED) if params.folds == "ravdess" else params.folds


def _validating(params: SplitParams, count: int) -> int:
    return max(1, count // VALIDATING) if params.folds == "each" else 1


def _group(clip: Clip, protocol: Protocol) -> str:
    """Returns what must not be parted, with the word for it."""
    return {
        "random": f"clip {clip.clip}",
        "recording": f"recording {clip.recording}",
        "subject": f"subject {clip.subject}",
    }[protocol]


def _folds(clips: list[Clip], expressions: list[str], params: SplitParams, seed: int, where: Path) -> NDArray[np.int64]:
    groups = [_group(clip, params.protocol) for clip in clips]
    found = len(set(groups))
    if params.folds == "ravdess":
        return _published(clips, where)
    if params.folds == "each":
        if found < 3:
            raise DataError(f"{where}: {found} subjects are too few to test each alone, three at least; add data")
        return np.unique(groups, return_inverse=True)[1].astype(np.int64)
    if found < params.folds:
        word = "clips" if params.protocol == "random" else f"{params.protocol}s"
        raise DataError(f"{where}: {found} {word} cannot fill {params.folds} folds; lower split.folds or add data")
    return _stratified(expressions, groups, params.folds, seed, where)


def _published(clips: list[Clip], where: Path) -> NDArray[np.int64]:
    fold_of = {f"ravdess/{actor:02}": fold for fold, actors in enumerate(PUBLISHED) for actor in actors}
    if strange := sorted({clip.subject for clip in clips} - set(fold_of)):
        raise DataError(f"{where}: subject {strange[0]} is none of RAVDESS's 24 actors, whom split.folds: ravdess names; give a number")
    folds = np.array([fold_of[clip.subject] for clip in clips], np.int64)
    if empty := sorted(set(range(len(PUBLISHED))) - set(folds.tolist())):
        raise DataError(f"{where}: no clip is of RAVDESS's actors {', '.join(map(str, PUBLISHED[empty[0]]))}; add them, or give a number")
    return folds


def _stratified(expressions: list[str], groups: list[str], folds: int, seed: int, where: Path) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    parted = len(set(groups)) < len(groups)
    found = np.zeros(len(groups), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        try:
            folded = (StratifiedGroupKFold if parted else StratifiedKFold)(folds, shuffle=True, random_state=seed)
            for number, (_, rows) in enumerate(folded.split(np.zeros(len(groups)), expressions, groups if parted else None)):
                found[rows] = number
        except ValueError as error:
            raise DataError(f"{where}: no expression has as many clips as split.folds ({folds}); lower it or add data") from error
    return found


def leakage(rows: list[Row]) -> dict[str, float]:
    """Returns the shares of the test clips whose recording, or whose subject, the model has seen in train or validation."""
    seen: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.part != "test":
            seen["recording"].add(row.recording)
            seen["subject"].add(row.subject)
    test = [row for row in rows if row.part == "test"]
    return {kind: sum(getattr(row, kind) in seen[kind] for row in test) / len(test) for kind in ("recording", "subject")}


def counts(rows: list[Row], kinds: Sequence[str]) -> list[dict[str, object]]:
    """Returns for each part how many clips it has, and of how many subjects, or other `kinds`, they are."""
    parts = {part: [row for row in rows if row.part == part] for part in PARTS}
    return [
        {"part": part, "clips": len(found)} | {f"{kind}s": len({getattr(row, kind) for row in found}) for kind in kinds}
        for part, found in parts.items()
    ]


def absent(rows: list[Row], parts: Sequence[str] = PARTS) -> list[str]:
    """Returns a sentence a part that lacks an expression which another part has."""
    every = {row.expression for row in rows}
    lacking = {part: sorted(every - {row.expression for row in rows if row.part == part}) for part in parts}
    return [f"no clip of the part {part} shows {', '.join(names)}{MEANING[part]}" for part, names in lacking.items() if names]


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
