"""The one test of two models on the same clips: for the gate, the comparison and the benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 3
"""Fewest subjects from which anything can be concluded."""
SMALLEST = 1e-4
"""Smaller p values are written as below this one: the tails of a test are known less well than that."""

Right = NDArray[np.bool_] | NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """How much more accurate the first of two models is, and the two-sided p of that, which is None if there are too few subjects."""

    difference: float
    p: float | None
    subjects: int
    recordings: int


def paired(first: Right, second: Right, subjects: Sequence[str], recordings: Sequence[str]) -> Paired:
    """Compare two models on the same n clips: which are right, 0 or 1 each (or a mean over seeds), with their subjects and recordings.

    The files of a recording count once, as their mean, and the subjects are the units.
    """
    keys = np.array([f"{subject}\0{recording}" for subject, recording in zip(subjects, recordings, strict=True)])
    names, clips = np.unique(keys, return_inverse=True)
    sums = np.bincount(clips, np.asarray(first, float) - np.asarray(second, float))
    differences = sums / np.bincount(clips)
    _, owner = np.unique([name.partition("\0")[0] for name in names], return_inverse=True)
    count = int(owner.max()) + 1
    p = float(p_values(differences[None], owner)[0]) if count >= FEWEST else None
    return Paired(float(differences.mean()), p, count, len(names))


def p_values(differences: NDArray[np.float64] | NDArray[np.int64], owner: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the two-sided p of each of m sets of differences, (m, recordings), whose subjects `owner` numbers.

    It is the larger of two: of Student's t over the subjects' sums, and of McNemar's exact test over recordings. The first knows that a
    model may suit some people; alone it would take the same sum for three people, which chance gives easily, for certainty.
    """
    from scipy.stats import binom, t

    count = int(owner.max()) + 1
    sums = np.stack([differences[:, owner == number].sum(axis=1) for number in range(count)], axis=1)
    error = np.sqrt(count * sums.var(axis=1, ddof=1))
    total = sums.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        over_subjects = 2 * t.sf(np.abs(total / error), count - 1)
    won, lost = np.maximum(differences, 0).sum(axis=1), np.maximum(-differences, 0).sum(axis=1)
    over_recordings = 2 * binom.sf(np.floor(np.maximum(won, lost)) - 1, np.ceil(won + lost), 0.5)
    return np.asarray(np.where(total == 0, 1, np.minimum(1, np.fmax(over_subjects, over_recordings))))


def p_text(p: float | None) -> str:
    """Return a p value as text."""
    if p is None:
        return "too few subjects"
    return f"< {SMALLEST:g}" if p < SMALLEST else f"{p:.2g}"


def holm(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return p values corrected for their number. Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979."""
    valid = {name: p for name, p in values.items() if p is not None}
    corrected: dict[str, float | None] = dict.fromkeys(values)
    least = 0.0
    for place, name in enumerate(sorted(valid, key=lambda name: valid[name])):
        least = max(least, min(1.0, (len(valid) - place) * valid[name]))
        corrected[name] = least
    return corrected
