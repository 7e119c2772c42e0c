"""The CNN's predictions for stills that it did not learn from: one row per still, in one Parquet file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vfer.errors import DataError
from vfer.files import replacing
from vfer.nets.session import Session

if TYPE_CHECKING:
    from vfer.cnn.data import StillPart

Outputs = dict[str, NDArray[np.float32]]
SHARE = "p_"  # before a class in the name of its column
TEXTS = ("still", "usage", "expression")
BATCH = 256


@dataclass(frozen=True)
class Predictions:
    """n stills: name, usage and expression each, and the probabilities of `classes`, float32 (n, classes).

    `twin` says which show a photo that the CNN was trained on too, as far as is known.
    """

    still: list[str]
    usage: list[str]
    expression: list[str]
    twin: list[bool]
    probabilities: NDArray[np.float32]
    classes: list[str]

    def of(self, usage: str) -> "Predictions":
        """Return those of one usage."""
        return self._rows([i for i, value in enumerate(self.usage) if value == usage])

    @property
    def fresh(self) -> "Predictions":
        """Those whose photo the CNN was not trained on."""
        return self._rows([i for i, twin in enumerate(self.twin) if not twin])

    def _rows(self, rows: list[int]) -> "Predictions":
        still, usage, expression = ([column[i] for i in rows] for column in (self.still, self.usage, self.expression))
        return Predictions(still, usage, expression, [self.twin[i] for i in rows], self.probabilities[rows], self.classes)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The numbers of the expressions among the classes, (n,)."""
        return np.array([self.classes.index(name) for name in self.expression], np.int64)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The numbers of the likeliest classes, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


def run(session: Session, part: "StillPart") -> Outputs:
    """Run a CNN over stills, one at least, and return all of its outputs by name, float32 (n, ...) each."""
    pixels = part.pixels[..., np.newaxis]
    batches = [session(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def predict(session: Session, usage: str, part: "StillPart", classes: Sequence[str]) -> Predictions:
    """Return a CNN's predictions for the stills of a usage, one at least, whose labels number `classes`."""
    return predictions_of(run(session, part)["probabilities"], usage, part, classes, session.classes)


def predictions_of(
    probabilities: NDArray[np.float32], usage: str, part: "StillPart", classes: Sequence[str], names: Sequence[str]
) -> Predictions:
    """Return the probabilities of the classes `names` as predictions for the stills of a usage, whose labels number `classes`."""
    twins = list(part.twins) or [False] * len(part.labels)
    return Predictions(list(part.names), [usage] * len(twins), [classes[label] for label in part.labels], twins, probabilities, list(names))


@dataclass(frozen=True)
class Majority:
    """How often a vote head answers what most annotators voted for, among the `stills` on which more than half of them agree."""

    accuracy: float
    stills: int


def majority(votes: NDArray[np.float32], part: "StillPart") -> Majority:
    """Score the output `votes` of a CNN on the stills of which more than half of the votes name one expression, as published for FER+."""
    agreed = part.votes.max(axis=1, initial=0) > 0.5
    right = votes[agreed].argmax(axis=1) == part.votes[agreed].argmax(axis=1)
    return Majority(float(right.mean()), int(agreed.sum()))


def write(path: Path, predictions: Sequence[Predictions]) -> None:
    """Write the table, atomically; it has no rows where nothing was said."""
    columns: dict[str, object] = {
        name: pa.array([value for part in predictions for value in getattr(part, name)], pa.string()) for name in TEXTS
    }
    columns["twin"] = pa.array([twin for part in predictions for twin in part.twin], pa.bool_())
    if predictions:
        shares = np.concatenate([part.probabilities for part in predictions])
        columns |= {f"{SHARE}{name}": shares[:, i] for i, name in enumerate(predictions[0].classes)}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read(path: Path) -> Predictions:
    """Read the table; raise `DataError` if the file is missing or is no such table."""
    try:
        table = pq.read_table(path)
        still, usage, expression = ([str(value) for value in table[name].to_pylist()] for name in TEXTS)
        twin = [bool(value) for value in table["twin"].to_pylist()]
        classes = [name.removeprefix(SHARE) for name in table.column_names if name.startswith(SHARE)]
        shares = np.array([table[f"{SHARE}{name}"].to_numpy() for name in classes], np.float32).reshape(len(classes), table.num_rows).T
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: is not a readable table of the CNN's predictions; run `dvc repro cnn`") from error
    return Predictions(still, usage, expression, twin, shares, classes)
