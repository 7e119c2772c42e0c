"""Turn the stills table into arrays for training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfer.data.catalogue import duplicates, stills
from vfer.data.catalogue.duplicates import Counts
from vfer.data.catalogue.labels import LabelsParams, classes
from vfer.errors import DataError

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class StillPart:
    """The n stills of one usage.

    Attributes:
        pixels: Grey faces, uint8 (n, 48, 48).
        labels: Class numbers, int64 (n,).
        targets: What the label head learns, float32 (n, classes).
        names: Names of the stills.
        twins: Which held-out stills show a photo that is trained on; empty if that is unknown.
        votes: Shares of the annotators' votes, float32 (n, vote classes), zero in rows without votes; no columns without a vote head.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    names: Sequence[str] = ()
    twins: Sequence[bool] = ()
    votes: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __post_init__(self) -> None:
        if not self.votes.size:
            object.__setattr__(self, "votes", np.zeros((len(self.labels), self.votes.shape[1]), np.float32))


@dataclass(frozen=True)
class Stills:
    """The stills of each usage, the classes of both heads, and counts of stills that show one photo."""

    classes: list[str]
    votes: list[str]
    parts: dict[str, StillPart]
    duplicates: Counts
    where: Path = Path()

    def columns(self) -> list[int]:
        """Return the number among the vote classes of each class; raise `DataError` if annotators voted for one of them never."""
        if absent := sorted(set(self.classes) - set(self.votes)):
            raise DataError(f"{self.where}: no annotator voted for {', '.join(absent)}; set cnn.head: label")
        return [self.votes.index(name) for name in self.classes]


def load(table: pa.Table, labels: LabelsParams, where: Path, *, votes: bool = False, drop_duplicates: bool = False) -> Stills:
    """Turn the table of stills into what the CNN learns.

    Args:
        table: The stills.
        labels: Which expressions are classes.
        where: File that errors name.
        votes: Whether a second head learns the shares of the annotators' votes, over all expressions that they name.
        drop_duplicates: Whether train lacks the stills that show a photo of validation or test.

    Raises:
        DataError: A usage has no still of the classes, or a class has none to train on.
    """
    names, table = _select(table, labels, where)
    expressions, usages = _numbers(table, "expression", names), _numbers(table, "usage", stills.USAGES)
    _check(expressions, usages, names, where)
    pixels = stills.decode(table, str(where))
    leaking, counts = duplicates.examine(pixels, expressions, usages, _subjects(table))
    in_training = usages == stills.USAGES.index("train")
    selected = ~(leaking & in_training & drop_duplicates)
    twins = leaking & ~in_training & (not drop_duplicates)
    _check(
        expressions[selected],
        usages[selected],
        names,
        where,
        " apart from photos of validation or test, which cnn.drop_duplicates leaves out",
    )
    targets = np.eye(len(names), dtype=np.float32)[expressions]
    words, shares = vote_shares(table, labels) if votes else ([], np.zeros((len(expressions), 0), np.float32))
    parts, stands = {}, [str(still) for still in table["still"].to_pylist()]
    for number, usage in enumerate(stills.USAGES):
        rows = np.flatnonzero(selected & (usages == number))
        twins_of = [stands[row] for row in rows]
        parts[usage] = StillPart(pixels[rows], expressions[rows], targets[rows], twins_of, twins[rows].tolist(), shares[rows])
    return Stills(names, words, parts, counts | {"dropped": {"train": int((~selected).sum())}}, where)


def held_out(table: pa.Table, labels: LabelsParams, names: Sequence[str], where: Path) -> dict[str, StillPart]:
    """Return the validation and test stills, perhaps none, that show one of the classes of a network which already exists."""
    table, split = _merge(table, labels), {}
    for usage in HELD_OUT:
        part = table.filter((pc.field("usage") == usage) & pc.field("expression").isin(names))
        numbers = _numbers(part, "expression", names)
        stands = [str(still) for still in part["still"].to_pylist()]
        split[usage] = StillPart(stills.decode(part, str(where)), numbers, np.eye(len(names), dtype=np.float32)[numbers], stands)
    return split


def _select(table: pa.Table, labels: LabelsParams, where: Path) -> tuple[list[str], pa.Table]:
    table = _merge(table, labels)
    names = classes(map(str, table["expression"].to_pylist()), labels.stills, where)
    return names, table.filter(pc.field("expression").isin(names))


def _merge(table: pa.Table, labels: LabelsParams) -> pa.Table:
    expressions = labels.merged(str(expression) for expression in table["expression"].to_pylist())
    return table.set_column(table.schema.get_field_index("expression"), "expression", pa.array(expressions, pa.string()))


def _numbers(table: pa.Table, column: str, names: Sequence[str]) -> NDArray[np.int64]:
    return np.array([names.index(str(name)) for name in table[column].to_pylist()], np.int64)


def _subjects(table: pa.Table) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array(
        [-1 if name is None else numbers.setdefault(str(name), len(numbers)) for name in table["subject"].to_pylist()], np.int64
    )


def _check(expressions: NDArray[np.int64], usages: NDArray[np.int64], names: Sequence[str], where: Path, reason: str = "") -> None:
    for number, usage in enumerate(stills.USAGES):
        if number not in usages:
            raise DataError(f"{where}: no still of usage {usage} shows {', '.join(names)}{reason}; add stills with `vfer data add`")
    train_expressions = expressions[usages == stills.USAGES.index("train")]
    if absent := sorted(name for number, name in enumerate(names) if number not in train_expressions):
        raise DataError(f"{where}: no still of usage train shows {', '.join(absent)}{reason}; add some, or leave it out of labels.stills")


def vote_shares(table: pa.Table, labels: LabelsParams) -> tuple[list[str], NDArray[np.float32]]:
    """Return the expressions that annotators voted for, sorted, and each still's shares of the votes.

    Returns:
        The expressions under their merged names, and float32 (n, expressions), zero if a still has no votes. Source: Barsoum et al.,
        "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution", 2016.
    """
    polls = [dict(votes or ()) for votes in table[stills.VOTES.name].to_pylist()]
    words = sorted({name for poll in polls for name in labels.merged(word for word, count in poll.items() if count)})
    shares = np.zeros((len(polls), len(words)), np.float32)
    for row, poll in zip(shares, polls, strict=True):
        for name, count in zip(labels.merged(poll), poll.values(), strict=True):
            if count:
                row[words.index(name)] += count
    return words, shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
