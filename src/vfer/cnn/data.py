"""Turns the stills table into arrays for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfer.cnn import duplicates
from vfer.cnn.duplicates import Counts
from vfer.data import stills
from vfer.data.labels import LabelsParams, classes
from vfer.errors import DataError

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Part:
    """The stills of one usage: pixels, uint8 (n, 48, 48), class numbers, int64 (n,), what is learned, float32 (n, classes), and names.

    `twins` says of held out stills which show a photo that is trained on; empty where nobody looked.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    names: Sequence[str] = ()
    twins: Sequence[bool] = ()


def parts(
    table: pa.Table, labels: LabelsParams, where: Path, *, distributions: bool = False, drop_duplicates: bool = False
) -> tuple[list[str], dict[str, Part], Counts]:
    """Returns the CNN's classes, the stills of each usage whose expression is among them, and counts of those that show one photo.

    With `distributions` the targets of train are each class's share of the votes; without, or where there are none, they are one-hot.
    With `drop_duplicates` train lacks what shows a photo of validation or test. Raises `DataError` where a usage has no such still, or a
    class has none to train on.
    """
    names, table = _chosen(table, labels, where)
    expressions, usages = _numbers(table, "expression", names), _numbers(table, "usage", stills.USAGES)
    _check(expressions, usages, names, where)
    pixels = stills.decode(table, str(where))
    leaking, counts = duplicates.examine(pixels, expressions, usages, _subjects(table))
    trained = usages == stills.USAGES.index("train")
    kept = ~(leaking & trained & drop_duplicates)
    twins = leaking & ~trained & (not drop_duplicates)
    _check(expressions[kept], usages[kept], names, where, " apart from photos of validation or test, which cnn.drop_duplicates leaves out")
    targets = np.eye(len(names), dtype=np.float32)[expressions]
    if distributions:
        _vote(targets, table, names, labels)
    split, stands = {}, [str(still) for still in table["still"].to_pylist()]
    for number, usage in enumerate(stills.USAGES):
        rows = np.flatnonzero(kept & (usages == number))
        split[usage] = Part(pixels[rows], expressions[rows], targets[rows], [stands[row] for row in rows], twins[rows].tolist())
    return names, split, counts | {"dropped": {"train": int((~kept).sum())}}


def held_out(table: pa.Table, labels: LabelsParams, names: Sequence[str], where: Path) -> dict[str, Part]:
    """Returns the validation and test stills, perhaps none, that show one of the classes of a network which is there already."""
    table, split = _merged(table, labels), {}
    for usage in HELD_OUT:
        part = table.filter((pc.field("usage") == usage) & pc.field("expression").isin(names))
        numbers = _numbers(part, "expression", names)
        stands = [str(still) for still in part["still"].to_pylist()]
        split[usage] = Part(stills.decode(part, str(where)), numbers, np.eye(len(names), dtype=np.float32)[numbers], stands)
    return split


def _chosen(table: pa.Table, labels: LabelsParams, where: Path) -> tuple[list[str], pa.Table]:
    table = _merged(table, labels)
    names = classes(map(str, table["expression"].to_pylist()), labels.stills, where)
    return names, table.filter(pc.field("expression").isin(names))


def _merged(table: pa.Table, labels: LabelsParams) -> pa.Table:
    merged = labels.merged(str(expression) for expression in table["expression"].to_pylist())
    return table.set_column(table.schema.get_field_index("expression"), "expression", pa.array(merged, pa.string()))


def _numbers(table: pa.Table, column: str, names: Sequence[str]) -> NDArray[np.int64]:
    return np.array([names.index(str(name)) for name in table[column].to_pylist()], np.int64)


def _subjects(table: pa.Table) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([-1 if name is None else seen.setdefault(str(name), len(seen)) for name in table["subject"].to_pylist()], np.int64)


def _check(expressions: NDArray[np.int64], usages: NDArray[np.int64], names: Sequence[str], where: Path, reason: str = "") -> None:
    for number, usage in enumerate(stills.USAGES):
        if number not in usages:
            raise DataError(f"{where}: no still of usage {usage} shows {', '.join(names)}{reason}; add stills with `vfer data add`")
    trained = expressions[usages == stills.USAGES.index("train")]
    if absent := sorted(name for number, name in enumerate(names) if number not in trained):
        raise DataError(f"{where}: no still of usage train shows {', '.join(absent)}{reason}; add some, or leave it out of labels.stills")


def _vote(targets: NDArray[np.float32], table: pa.Table, names: Sequence[str], labels: LabelsParams) -> None:
    """Puts the shares of the votes in place of the targets of train.

    Source: Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution", 2016.
    """
    for row, (usage, votes) in enumerate(zip(table["usage"].to_pylist(), table[stills.VOTES.name].to_pylist(), strict=True)):
        if usage == "train" and votes:
            words, counts = zip(*votes, strict=True)
            shares = np.zeros_like(targets[row])
            for name, count in zip(labels.merged(words), counts, strict=True):
                if name in names:
                    shares[names.index(name)] += count
            if shares.any():
                targets[row] = shares / shares.sum()
