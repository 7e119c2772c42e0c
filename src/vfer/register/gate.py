"""The gate to the alias `champion`: a paired test on the same test clips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger takes the alias, and why, in one line."""

    promoted: bool
    reason: str


def mcnemar(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Returns the two-sided p of the exact McNemar test of which of the same clips two models get right, (n,) each.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947.
    """
    from scipy.stats import binomtest

    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def compare(challenger: NDArray[np.bool_], champion: NDArray[np.bool_], significance: float) -> Verdict:
    """Compares which of the same test clips two models get right, (n,) each, by the exact McNemar test."""
    scores = f"{challenger.mean():.3f} against the champion's {champion.mean():.3f} on the same {len(champion)} clips"
    if challenger.sum() <= champion.sum():
        return Verdict(False, f"not more accurate: {scores}")
    p = mcnemar(challenger, champion)
    if p >= significance:
        return Verdict(False, f"more accurate, but by chance as it may be: {scores}, p {p:.3f}")
    return Verdict(True, f"more accurate: {scores}, p {p:.3g}")
