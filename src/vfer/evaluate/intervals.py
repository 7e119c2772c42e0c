"""Confidence intervals of scores over subjects, within which clips depend on each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
NAMES = ("accuracy", "macro_f1", "uar")
FEWEST = 3
"""Subjects below which no interval holds."""
FEW = "too few subjects"


@dataclass(frozen=True)
class Interval:
    """A score with the bounds of its confidence interval, which are None if there are too few subjects for one."""

    value: float
    low: float | None
    high: float | None


def intervals(
    truth: Numbers, predicted: Numbers, subjects: Sequence[str], recordings: Sequence[str], classes: int, confidence: float
) -> dict[str, Interval]:
    """Return accuracy, macro F1 and UAR with intervals for subjects yet unseen, from n clips' classes and answer (-1 for none).

    `predicted` is int64 (n,), or (seeds, n), whose scores are averaged. The standard error is that of the jackknife over subjects; what it
    makes the number of independent recordings, at most the true one, gives the bounds of Clopper and Pearson. Where all or no clips are
    right the jackknife says nothing, and the subjects count as the independent ones, which holds however alike one's clips are. Source:
    Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data",
    1998; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11.
    """
    tables = _tables(truth, np.atleast_2d(predicted), subjects, classes)
    whole = tables.sum(axis=1)
    values = _scores(whole).mean(axis=0)
    count = tables.shape[1]
    if count < FEWEST:
        return {name: Interval(float(value), None, None) for name, value in zip(NAMES, values, strict=True)}
    without = _scores(whole[:, None] - tables).mean(axis=0)  # (subjects, scores)
    error = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    most = _independent(truth, recordings)
    return {
        name: Interval(float(value), *bounds(float(value), float(spread), count, most[name], confidence))
        for name, value, spread in zip(NAMES, values, error, strict=True)
    }


def bounds(value: float, error: float, subjects: int, most: float, confidence: float) -> tuple[float, float]:
    """Return the interval of a share, given its standard error, the number of subjects, and that of independent recordings at most."""
    from scipy.stats import beta, norm, t

    tail = (1 - confidence) / 2
    if value in (0, 1):
        size = float(subjects)
    else:
        size = min(value * (1 - value) / error**2, most) if error else most
        size *= (norm.ppf(tail) / t.ppf(tail, subjects - 1)) ** 2
    hits = value * size
    low = float(beta.ppf(tail, hits, size - hits + 1)) if value > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, size - hits)) if value < 1 else 1.0
    return low, high


def head(confidence: float) -> str:
    """Return the heading of a column of intervals."""
    return f"{100 * confidence:g} % interval"


def cells(interval: Mapping[str, float | None], form: str = ".3f", times: float = 1) -> list[str]:
    """Return the value and the bounds of an interval's dict, in two cells."""
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    assert value is not None
    interval_text = FEW if low is None or high is None else f"{times * low:{form}} to {times * high:{form}}"
    return [f"{times * value:{form}}", interval_text]


def _tables(truth: Numbers, predicted: Numbers, subjects: Sequence[str], classes: int) -> NDArray[np.float64]:
    """Return each subject's counts of truth in rows and answer in columns, the last for none: (seeds, subjects, classes, classes + 1)."""
    names, of_subject = np.unique(np.asarray(subjects), return_inverse=True)
    shape = (len(names), classes, classes + 1)
    flat = [np.ravel_multi_index((of_subject, truth, np.where(answers < 0, classes, answers)), shape) for answers in predicted]
    return np.stack([np.bincount(rows, minlength=int(np.prod(shape))).reshape(shape) for rows in flat]).astype(float)


def _scores(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return accuracy, macro F1 and UAR, on a new last axis, of tables (..., classes, classes + 1); empty classes count in no mean."""
    support, predictions = tables.sum(axis=-1), tables[..., :-1].sum(axis=-2)
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    occurs = support > 0
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predictions, 1)
    number = np.maximum(occurs.sum(axis=-1), 1)
    accuracy = hits.sum(axis=-1) / np.maximum(support.sum(axis=-1), 1)
    return np.stack([accuracy, (f1 * occurs).sum(axis=-1) / number, (recall * occurs).sum(axis=-1) / number], axis=-1)


def _independent(truth: Numbers, recordings: Sequence[str]) -> dict[str, float]:
    """Return how many recordings count for each score at most: for means over classes, rare classes make them fewer."""
    _, first = np.unique(np.asarray(recordings), return_index=True)
    support = np.bincount(truth[first])
    support = support[support > 0]
    by_class = len(support) ** 2 / float((1 / support).sum())
    return {"accuracy": float(len(first)), "macro_f1": by_class, "uar": by_class}
