"""Distillation: targets are mixed with the predictions of larger networks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.cnn.data import StillPart
from vfer.errors import WeightsError
from vfer.nets.session import Session

BATCH = 256
FOLDER = "teachers"


def find(weights: Path) -> list[Path]:
    """Return the ONNX networks in the folder of teachers, sorted.

    Raises:
        WeightsError: If there is none.
    """
    paths = sorted((weights / FOLDER).glob("*.onnx"))
    if not paths:
        raise WeightsError(f"{weights / FOLDER}: holds no teacher; add the ONNX files of trained CNNs, or set cnn.distillation: 0")
    return paths


def teach(part: StillPart, teachers: Sequence[Path], classes: list[str], votes: list[str], share: float, *, threads: int = 1) -> StillPart:
    """Mix the teachers' mean answer to each still into what both heads learn.

    Args:
        part: The stills that are trained on.
        teachers: CNNs as ONNX files, of the same classes.
        classes: Classes of the label head.
        votes: Classes of the vote head.
        share: Weight of the teachers, 0 to 1; the labels and votes have the rest. A still without votes learns the teachers' alone.
        threads: Of ONNX Runtime.

    Raises:
        WeightsError: A teacher has other classes, or takes pictures of another size.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    answers = [_answers(path, part.pixels, classes, votes, threads) for path in teachers]
    label, vote = (np.mean(outputs, axis=0) for outputs in zip(*answers, strict=True))
    voted = part.votes.any(axis=1, keepdims=True)
    weights = np.where(voted, share, 1).astype(np.float32)
    return replace(
        part,
        targets=np.asarray(share * label + (1 - share) * part.targets, np.float32),
        votes=np.asarray(weights * vote + (1 - weights) * part.votes, np.float32),
    )


def _answers(
    path: Path, pixels: NDArray[np.uint8], classes: list[str], votes: list[str], threads: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    session = Session(path, threads=threads)
    for name, theirs, ours in (("classes", session.classes, classes), ("vote classes", session.votes, votes)):
        if ours and theirs != ours:
            raise WeightsError(f"{path}: its {name} are {', '.join(theirs) or 'none'}, expected {', '.join(ours)}; remove this teacher")
    names = ["probabilities", "votes"] if votes else ["probabilities"]
    try:
        batches = [session(pixels[at : at + BATCH, ..., np.newaxis]) for at in range(0, len(pixels), BATCH)]
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise WeightsError(f"{path}: does not take faces of {pixels.shape[1]}x{pixels.shape[2]} pixels; remove this teacher") from error
    label, *rest = (np.concatenate([batch[name] for batch in batches]) for name in names)
    return label, rest[0] if rest else np.zeros((len(pixels), 0), np.float32)
