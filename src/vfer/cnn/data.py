"""Turns the stills table into arrays for training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfer import stills
from vfer.errors import DataError
from vfer.labels import LabelsParams, classes


@dataclass(frozen=True)
class Part:
    """The stills of one usage: pixels, uint8 (n, 48, 48), and class numbers, int64 (n,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def parts(table: pa.Table, labels: LabelsParams, where: Path) -> tuple[list[str], dict[str, Part]]:
    """Returns the CNN's classes, and the stills of each usage whose expression is among them.

    Raises `DataError` where a usage has no such still, or a class has none to train on.
    """
    merged = labels.merged(str(expression) for expression in table["expression"].to_pylist())
    table = table.set_column(table.schema.get_field_index("expression"), "expression", pa.array(merged, pa.string()))
    names = classes(merged, labels.stills, where)
    return names, {usage: _part(table, names, usage, where) for usage in stills.USAGES}


def _part(table: pa.Table, names: list[str], usage: str, where: Path) -> Part:
    chosen = table.filter((pc.field("usage") == usage) & pc.field("expression").isin(names))
    if not chosen.num_rows:
        raise DataError(f"{where}: no still of usage {usage} shows {', '.join(names)}; add stills with `vfer data add`")
    labels = np.array([names.index(str(name)) for name in chosen["expression"].to_pylist()])
    if usage == "train" and (absent := sorted(set(names) - {names[label] for label in labels})):
        raise DataError(f"{where}: no still of usage train shows {', '.join(absent)}; add some, or leave it out of labels.stills")
    return Part(stills.decode(chosen, str(where)), labels)
