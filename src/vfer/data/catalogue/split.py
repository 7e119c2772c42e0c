"""Split clips into train, validation and test, by a protocol that says who may be on both sides."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from vfer.data.catalogue import places
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.places import Kind, Places
from vfer.errors import DataError
from vfer.files import read_table, replacing
from vfer.params import Params

PARTS = ("train", "validation", "test")
_FIELDS: "list[pa.Field[Any]]" = [
    pa.field(name, pa.string(), nullable=False)
    for name in ("clip", "expression", "subject", "recording", "source", "part", "reason", "digest")
]
SPLIT_SCHEMA = pa.schema(_FIELDS)

Protocol = Literal["random", "recording", "subject"]
UNITS: dict[Protocol, Kind] = {"random": "clip", "recording": "recording", "subject": "subject"}
"""What each protocol deals to the folds whole."""
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
REMEDY = "lower split.folds, choose another seed, or deal all anew with `vfer data places --again`"
VALIDATING = 10
"""Of single subjects as folds, one in so many validates: one alone would choose the epoch by a few clips."""


class SplitParams(Params):
    """The `split` section of params.yaml.

    `random` is the paper's: files are drawn at random, so that actors and twin files are on both sides (10 folds give its 80:10:10).
    `recording` keeps the files of one recording on one side, and `subject` all of an actor. `folds` is a number, or, by subject, `each`,
    which tests every subject alone, or `ravdess`, the five folds of actors that are published.
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

    def described(self, seed: int) -> str:
        """Return the split in a few words; two runs whose words differ test on other clips."""
        return f"by {self.protocol}, fold {self.fold} of {self.folds}, seed {seed}"


@dataclass(frozen=True)
class SplitRow:
    """One clip of the split, under its merged expression, why it is in its part, and the sha256 of its file where that is known."""

    clip: str
    expression: str
    subject: str
    recording: str
    source: str
    part: str
    reason: str = ""
    digest: str = ""


def split(
    clips: list[Clip],
    expressions: list[str],
    params: SplitParams,
    seed: int,
    where: Path,
    known: Mapping[Kind, Mapping[str, int]] | None = None,
    digest_of: Mapping[str, str] | None = None,
) -> list[SplitRow]:
    """Assign each clip, with its merged expression, to a part, by the seed and the places of whatever the protocol keeps together.

    One fold tests, the next ones in a ring validate, and the others train. A clip that comes or goes changes nobody else's part, as long as
    the places `known` name everybody. Raises `DataError` if there are fewer subjects, recordings or clips than folds, a fold is empty
    or does not exist, or, of the folds `ravdess`, a clip of somebody else.
    """
    order = sorted(range(len(clips)), key=lambda i: clips[i].clip)
    clips, expressions = [clips[i] for i in order], [expressions[i] for i in order]
    fold_of = _folds(clips, params, seed, where, places.extended(known or {}, clips))
    part_of = _parts(fold_of, params, seed, where)
    kind = UNITS[params.protocol]
    rows = []
    for clip, expression in zip(clips, expressions, strict=True):
        unit = getattr(clip, kind)
        part = part_of[fold_of[unit]]
        reason = f"{kind} {unit} is in fold {fold_of[unit]} of {len(part_of)}, which {VERBS[part]}"
        digest = (digest_of or {}).get(clip.clip, "")
        rows.append(SplitRow(clip.clip, expression, clip.subject, clip.recording, clip.source, part, reason, digest))
    return rows


def fold_numbers(clips: list[Clip], params: SplitParams, known: Mapping[Kind, Mapping[str, int]] | None = None) -> list[int]:
    """Return the numbers of the folds that these clips have; those of `each` are the subjects' places."""
    if params.folds == "each":
        subject_places = places.extended(known or {}, clips)["subject"]
        return sorted({subject_places[clip.subject] for clip in clips})
    return list(range(len(PUBLISHED) if params.folds == "ravdess" else params.folds))


def _folds(clips: list[Clip], params: SplitParams, seed: int, where: Path, all_places: Places) -> dict[str, int]:
    """Return each unit's fold."""
    kind = UNITS[params.protocol]
    units = sorted({getattr(clip, kind) for clip in clips})
    if params.folds == "ravdess":
        return _published(units, where)
    if params.folds == "each":
        if len(units) < 3:
            raise DataError(f"{where}: {len(units)} subjects are too few to test each alone, three at least; add data")
        return {unit: all_places[kind][unit] for unit in units}
    if len(units) < params.folds:
        raise DataError(f"{where}: {len(units)} {kind}s cannot fill {params.folds} folds; lower split.folds or add data")
    fold_of = {unit: places.fold(all_places[kind][unit], kind, params.folds, seed) for unit in units}
    if empty := set(range(params.folds)) - set(fold_of.values()):
        raise DataError(f"{where}: fold {min(empty)} of {params.folds} has lost all its {kind}s; {REMEDY}")
    return fold_of


def _published(units: list[str], where: Path) -> dict[str, int]:
    published = {f"ravdess/{actor:02}": fold for fold, actors in enumerate(PUBLISHED) for actor in actors}
    if strange := sorted(set(units) - set(published)):
        raise DataError(f"{where}: subject {strange[0]} is none of RAVDESS's 24 actors, whom split.folds: ravdess names; give a number")
    fold_of = {unit: published[unit] for unit in units}
    if empty := sorted(set(range(len(PUBLISHED))) - set(fold_of.values())):
        raise DataError(f"{where}: no clip is of RAVDESS's actors {', '.join(map(str, PUBLISHED[empty[0]]))}; add them, or give a number")
    return fold_of


def _parts(fold_of: Mapping[str, int], params: SplitParams, seed: int, where: Path) -> dict[int, str]:
    """Return what each fold does; the folds `each` validate in a ring of hashes, where one more fold moves its neighbours at most."""
    folds = sorted(set(fold_of.values()))
    if params.fold not in folds:
        there = f"0 to {folds[-1]}" if folds == list(range(len(folds))) else ", ".join(map(str, folds))
        raise DataError(f"{where}: split.fold {params.fold} does not exist; {params.folds} gives the folds {there}")
    validating = 1
    if params.folds == "each":
        folds.sort(key=lambda fold: hashlib.sha256(f"{seed} {fold}".encode()).digest())
        validating = max(1, len(folds) // VALIDATING)
    start = folds.index(params.fold)
    ring = folds[start:] + folds[:start]
    parts = dict.fromkeys(ring, "train") | dict.fromkeys(ring[1 : 1 + validating], "validation")
    return parts | {params.fold: "test"}


def counts(rows: list[SplitRow], kinds: Sequence[str]) -> list[dict[str, object]]:
    """Return for each part how many clips it has, and of how many subjects, or other `kinds`, they are."""
    parts = {part: [row for row in rows if row.part == part] for part in PARTS}
    return [
        {"part": part, "clips": len(members)} | {f"{kind}s": len({getattr(row, kind) for row in members}) for kind in kinds}
        for part, members in parts.items()
    ]


def absent(rows: list[SplitRow], parts: Sequence[str] = PARTS) -> list[str]:
    """Return a sentence a part that lacks an expression which another part has."""
    every = {row.expression for row in rows}
    lacking = {part: sorted(every - {row.expression for row in rows if row.part == part}) for part in parts}
    return [f"no clip of the part {part} shows {', '.join(names)}{MEANING[part]}" for part, names in lacking.items() if names]


def write(path: Path, rows: list[SplitRow]) -> None:
    """Write the split as a Parquet table of `SPLIT_SCHEMA`, atomically."""
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], SPLIT_SCHEMA), temporary)


def read(path: Path) -> list[SplitRow]:
    """Read a split; raise `DataError` if the file is missing or is no such table."""
    table = read_table(path, SPLIT_SCHEMA, "split", "run `dvc repro lstm`")
    return [SplitRow(**row) for row in table.to_pylist()]
