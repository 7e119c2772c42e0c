"""Turns the faces of clips into what a CNN is fine-tuned on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vfer.cnn.data import StillPart
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.faces import table

PARTS = ("train", "validation")


def parts(rows: Sequence[SplitRow], faces: Path, names: Sequence[str], frames: int) -> dict[str, StillPart]:
    """Return faces of the clips to train on and of those to validate on, each labelled with its clip's expression.

    Test clips are left out before any face is read.

    Args:
        rows: A split.
        faces: Folder of the faces tables.
        names: The classes.
        frames: Most faces of a clip, evenly spaced.

    Raises:
        DataError: No clip of a part shows a face, or all clips to train on show one expression.
    """
    stills = {part: _part([row for row in rows if row.part == part], faces, names, frames) for part in PARTS}
    for part, stills_of in stills.items():
        if not len(stills_of.labels):
            raise DataError(f"{faces}: no clip of the part {part} shows a face; see outputs/faces/refused.csv")
    if len(set(stills["train"].labels.tolist())) < 2:
        only = names[int(stills["train"].labels[0])]
        raise DataError(f"{faces}: all clips to train on show {only}; lower split.folds, choose another fold, or add clips")
    return stills


def _part(rows: Sequence[SplitRow], faces: Path, names: Sequence[str], frames: int) -> StillPart:
    pixels, labels = [np.empty((0, table.SIDE, table.SIDE), np.uint8)], []
    for row in rows:
        faces_table = table.read(faces / f"{row.clip}.parquet")
        crops = faces_table.crop[faces_table.present]
        pixels.append(crops[table.evenly(len(crops), frames)])
        labels += [names.index(row.expression)] * len(pixels[-1])
    numbers = np.array(labels, np.int64)
    return StillPart(np.concatenate(pixels), numbers, np.eye(len(names), dtype=np.float32)[numbers])
