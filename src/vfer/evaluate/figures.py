"""Figures of the test clips: classes, subjects and calibration."""

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vfer.nets.scores import Scores, confusion, score

Numbers = NDArray[np.int64]
TITLES = {"accuracy": "accuracy", "uar": "UAR", "macro_f1": "macro F1"}
"""What the scores are called where a person reads them."""
Faceless = Literal["wrong", "prior"]


def answers(probabilities: NDArray[np.float32], prior: NDArray[Any], faceless: Faceless) -> Numbers:
    """Return the likeliest class of each clip, int64 (n,), from probabilities (n, classes); a row of NaN is a clip without a face.

    Such a clip gets -1, which is wrong, or the likeliest class of the `prior`, the shares of the classes among the training clips.
    """
    missing = np.isnan(probabilities).any(axis=1)
    instead = int(prior.argmax()) if faceless == "prior" else -1
    return np.where(missing, instead, np.nan_to_num(probabilities).argmax(axis=1))


def per_class(truth: Numbers, predicted: Numbers, names: list[str]) -> list[dict[str, object]]:
    """Return precision, recall, F1 and support of every class, in their order; an undefined figure is 0."""
    table = confusion(truth, predicted, len(names))
    support, answers = np.bincount(truth, minlength=len(names)), table.sum(axis=0)
    hits = np.diag(table)
    return [
        {
            "expression": name,
            "precision": _ratio(hits[i], answers[i]),
            "recall": _ratio(hits[i], support[i]),
            "f1": _ratio(2 * hits[i], support[i] + answers[i]),
            "support": int(support[i]),
        }
        for i, name in enumerate(names)
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def per_subject(truth: Numbers, predicted: Numbers, subjects: list[str], classes: int) -> list[dict[str, object]]:
    """Return the scores of every subject, sorted by name."""
    names = np.array(subjects)
    rows: list[dict[str, object]] = []
    for name in sorted(set(subjects)):
        belongs = names == name
        scores: Scores = score(truth[belongs], predicted[belongs], classes)
        rows.append({"subject": name, "clips": int(belongs.sum()), **asdict(scores)})
    return rows


def proper(truth: Numbers, probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Return the mean negative log likelihood and the Brier score of the answered clips; both are lower for better probabilities.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """
    with_answer = ~np.isnan(probabilities).any(axis=1)
    shares, right = probabilities[with_answer].astype(float), np.eye(probabilities.shape[1])[truth[with_answer]]
    if not len(shares):
        return {"log_loss": 0.0, "brier": 0.0}
    loss = -np.log(np.maximum((shares * right).sum(axis=1), 1e-7)).mean()
    return {"log_loss": float(loss), "brier": float(np.square(shares - right).sum(axis=1).mean())}


def calibration(truth: Numbers, probabilities: NDArray[np.float32], bins: int = 10) -> tuple[float, list[dict[str, float]]]:
    """Return the expected calibration error and the reliability curve of the answered clips, in bins of equal width.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    with_answer = ~np.isnan(probabilities).any(axis=1)
    sure = probabilities[with_answer].max(axis=1)
    right = probabilities[with_answer].argmax(axis=1) == truth[with_answer]
    bin_of = np.minimum((sure * bins).astype(int), bins - 1)
    curve = [
        {"confidence": float(sure[bin_of == i].mean()), "accuracy": float(right[bin_of == i].mean()), "clips": int((bin_of == i).sum())}
        for i in range(bins)
        if (bin_of == i).any()
    ]
    total = sum(row["clips"] for row in curve)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in curve) / max(total, 1), curve
