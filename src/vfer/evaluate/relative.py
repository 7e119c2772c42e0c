"""Figures of the answers that are relative to each person's own baseline: a protocol of its own, beside the plain figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.split import SplitRow
from vfer.evaluate import figures
from vfer.evaluate.intervals import intervals
from vfer.evaluate.params import EvaluateParams
from vfer.features.cache import Embeddings
from vfer.lstm import people
from vfer.lstm.baseline import KNOWS
from vfer.lstm.settings import SequenceSettings
from vfer.nets.session import Session


@dataclass(frozen=True)
class Relative:
    """The class number of each answered clip, -1 for none, and the figures; clips known to be neutral are in neither."""

    answers: dict[str, int]
    metrics: dict[str, Any]


def relative(
    session: Session,
    settings: SequenceSettings,
    rows: Sequence[SplitRow],
    embeddings: Mapping[str, Embeddings],
    plain: Mapping[str, int],
    prior: NDArray[np.int64],
    params: EvaluateParams,
) -> Relative:
    """Answer the test clips relative to their persons' baselines, as the model's settings say.

    Args:
        session: The sequence model.
        settings: How it is to be used; its baseline is not `none`.
        rows: The split.
        embeddings: Frames that show a face, by clip.
        plain: The class number of the plain answer to each test clip.
        prior: Training clips of each class, (classes,).
        params: The section `evaluate`.

    Returns:
        The answers, and their scores beside those of the plain answers to the same clips.
    """
    tested, probabilities = people.answers(session, rows, embeddings, settings, "test")
    truth = np.array([session.classes.index(row.expression) for row in tested], np.int64)
    predicted = figures.answers(probabilities, prior, params.faceless)
    subjects, recordings = ([getattr(row, kind) for row in tested] for kind in ("subject", "recording"))

    def scores(answers: NDArray[np.int64]) -> dict[str, Any]:
        whole = intervals(truth, answers, subjects, recordings, len(session.classes), params.confidence)
        return {name: asdict(interval) for name, interval in whole.items()}

    metrics = {
        "mode": settings.baseline,
        "protocol": KNOWS[settings.baseline],
        "clips": len(tested),
        **scores(predicted),
        "plain": scores(np.array([plain[row.clip] for row in tested], np.int64)),
        "calibration_error": figures.calibration(truth, probabilities)[0],
        **figures.proper(truth, probabilities),
    }
    return Relative({row.clip: int(answer) for row, answer in zip(tested, predicted, strict=True)}, metrics)
