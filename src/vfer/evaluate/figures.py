"""Figures of the test clips: intervals, classes, subjects, calibration and leakage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vfer.evaluate.scores import Scores, confusion, score

Numbers = NDArray[np.int64]
TITLES = {"accuracy": "accuracy", "uar": "UAR", "macro_f1": "macro F1"}
"""What the scores are called where a person reads them."""
Faceless = Literal["wrong", "prior"]


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


def head(confidence: float) -> str:
    """Returns what stands over the bounds of such intervals, as `told` writes them."""
    return f"{100 * confidence:g} % interval"


def told(interval: Mapping[str, float], form: str = ".3f", times: float = 1) -> list[str]:
    """Returns the value and the bounds of an interval's dict, in two cells."""
    value, low, high = (f"{times * interval[key]:{form}}" for key in ("value", "low", "high"))
    return [value, f"{low} to {high}"]


def bootstrap(
    truth: Numbers, predicted: Numbers, groups: list[str], classes: int, *, resamples: int, confidence: float, seed: int
) -> dict[str, Interval]:
    """Returns each score with its percentile interval over resampled groups (subjects), which is where clips depend on each other.

    With a single group the clips themselves are resampled. Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    members = _members(groups)
    rng = np.random.default_rng(seed)
    drawn = [np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]) for _ in range(resamples)]
    samples = [asdict(score(truth[rows], predicted[rows], classes)) for rows in drawn]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    whole = asdict(score(truth, predicted, classes))
    return {name: Interval(whole[name], *map(float, np.quantile([sample[name] for sample in samples], tails))) for name in whole}


def answers(probabilities: NDArray[np.float32], prior: NDArray[Any], faceless: Faceless) -> Numbers:
    """Returns the likeliest class of each clip, int64 (n,), from probabilities (n, classes); a row of NaN is a clip without a face.

    Such a clip gets -1, which is wrong, or the likeliest class of the `prior`, the shares of the classes among the training clips.
    """
    missing = np.isnan(probabilities).any(axis=1)
    instead = int(prior.argmax()) if faceless == "prior" else -1
    return np.where(missing, instead, np.nan_to_num(probabilities).argmax(axis=1))


def _members(groups: list[str]) -> list[NDArray[np.int64]]:
    if len(set(groups)) == 1:
        return [np.array([row]) for row in range(len(groups))]
    names = np.array(groups)
    return [np.flatnonzero(names == name) for name in sorted(set(groups))]


def per_class(truth: Numbers, predicted: Numbers, names: list[str]) -> list[dict[str, object]]:
    """Returns precision, recall, F1 and support of every class, in their order; 0 stands where a figure is undefined."""
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


def per_group(truth: Numbers, predicted: Numbers, groups: list[str], classes: int) -> list[dict[str, object]]:
    """Returns the scores of every group (subject or source), sorted by its name."""
    names = np.array(groups)
    rows: list[dict[str, object]] = []
    for name in sorted(set(groups)):
        chosen = names == name
        scores: Scores = score(truth[chosen], predicted[chosen], classes)
        rows.append({"group": name, "clips": int(chosen.sum()), **asdict(scores)})
    return rows


def calibration(truth: Numbers, probabilities: NDArray[np.float32], bins: int = 10) -> tuple[float, list[dict[str, float]]]:
    """Returns the expected calibration error and the reliability curve of the answered clips, in bins of equal width.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    answered = ~np.isnan(probabilities).any(axis=1)
    sure = probabilities[answered].max(axis=1)
    right = probabilities[answered].argmax(axis=1) == truth[answered]
    bin_of = np.minimum((sure * bins).astype(int), bins - 1)
    curve = [
        {"confidence": float(sure[bin_of == i].mean()), "accuracy": float(right[bin_of == i].mean()), "clips": int((bin_of == i).sum())}
        for i in range(bins)
        if (bin_of == i).any()
    ]
    total = sum(row["clips"] for row in curve)
    return sum(row["clips"] * abs(row["confidence"] - row["accuracy"]) for row in curve) / max(total, 1), curve


def permutation(first: NDArray[np.bool_], second: NDArray[np.bool_], groups: list[str], *, resamples: int, seed: int) -> float:
    """Returns the two-sided p of two methods' difference in accuracy on the same clips, (n,) right or wrong each.

    The signs of the groups' (subjects') differences are drawn anew, since the clips of one depend on each other; with a single group,
    those of the clips. Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005.
    """
    differences = first.astype(np.int64) - second
    sums = np.array([differences[rows].sum() for rows in _members(groups)])
    signs = np.random.default_rng(seed).choice([-1, 1], (resamples, len(sums)))
    return float((1 + (np.abs(signs @ sums) >= abs(sums.sum())).sum()) / (1 + resamples))


def holm(values: dict[str, float]) -> dict[str, float]:
    """Returns p values corrected for their number. Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979."""
    made: dict[str, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(values, key=lambda name: values[name])):
        least = max(least, min(1.0, (len(values) - place) * values[name]))
        made[name] = least
    return made
