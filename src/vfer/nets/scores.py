"""The figures of a classifier, from its probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """Figures that are always given together: accuracy, macro F1 and UAR (the mean recall of the classes that occur)."""

    accuracy: float
    macro_f1: float
    uar: float


def score(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Scores:
    """Score predictions, int64 (n,); a class that does not occur in the truth counts in none of the means.

    A prediction of -1 means "no answer" and counts as wrong. Raises `ValueError` if there is nothing to score.
    """
    if not len(truth):
        raise ValueError("there is nothing to score")
    table = confusion(truth, predicted, classes)
    support = np.bincount(truth, minlength=classes)
    occurs = support > 0
    hits = np.diag(table).astype(float)
    recall = hits[occurs] / support[occurs]
    f1 = 2 * hits[occurs] / (support[occurs] + table.sum(axis=0)[occurs])
    return Scores(float(hits.sum() / len(truth)), float(f1.mean()), float(recall.mean()))


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count pairs, int64 (classes, classes): truth in rows, prediction in columns; predictions of -1 are in no column."""
    with_answer = predicted >= 0
    pairs = truth[with_answer] * classes + predicted[with_answer]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
