"""A person's own baseline: a map of their embeddings from that person's distribution to everybody's.

At rest one face looks angry to a network and another sad. Other clips of the same person, unlabelled or known to be neutral, say how.
Sources: Busso et al., "Iterative Feature Normalization Scheme for Automatic Emotion Detection from Speech", 2013, for the iteration;
Baltrusaitis et al., "Cross-dataset learning and person-specific normalisation for automatic Action Unit detection", 2015.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets.reference import Clips, Moments, Reference, Statistics, Vector

Mode = Literal["none", "subject", "neutral", "iterative"]

KNOWS = {
    "subject": "knows the person's other clips, not their labels",
    "neutral": "knows some of the person's neutral clips, which are not scored",
    "iterative": "knows the person's other clips, not their labels, and finds the neutral ones",
}
"""What an answer relative to a person's baseline knows of the person; it must accompany every figure of such answers."""
PRIOR = 2
"""How many clips everybody's statistics count for beside a person's own."""
FLOOR = 0.3
"""Share of everybody's spread that is added to both spreads, so that a dimension in which a person hardly moves is not blown up."""
NEUTRAL_SHARE = 0.25
"""Share of a person's clips that `find_neutral` takes for neutral."""
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Baseline:
    """The map of one person's embeddings: each dimension scaled, then shifted; float32 (d,) each."""

    scale: Vector
    offset: Vector

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings, float32 (..., d), relative to everybody."""
        return np.asarray(embeddings * self.scale + self.offset, np.float32)


def identity(reference: Reference) -> Baseline:
    """Return the baseline of an unknown person: embeddings stay as they are."""
    return Baseline(np.ones_like(reference.mean), np.zeros_like(reference.mean))


def from_clips(statistics: Statistics | None, reference: Reference) -> Baseline:
    """Return the baseline of a person from clips that show a mix of expressions, unlabelled.

    The person's mean and spread are shrunk towards everybody's by n / (n + 2) for n clips, so that few clips change little and none
    change nothing.

    Args:
        statistics: Those of the person's clips; None if there are none.
        reference: Everybody's.
    """
    if statistics is None:
        return identity(reference)
    mean = _shrunk(statistics.mean, reference.mean, statistics.count)
    spread = _shrunk(statistics.spread, reference.spread, statistics.count)
    floor = FLOOR * reference.spread
    steady = reference.spread <= 0  # a dimension in which nobody ever moved keeps its scale
    scale = np.where(steady, 1, (reference.spread + floor) / np.where(steady, 1, spread + floor))
    return _onto(mean, scale, reference.mean)


def from_neutral(statistics: Statistics | None, reference: Reference) -> Baseline:
    """Return the baseline of a person from clips that show the person's neutral face; their mean is shrunk as in `from_clips`.

    Raises:
        WeightsError: The reference has no neutral mean.
    """
    if reference.neutral is None:
        raise WeightsError("the model knows no neutral face of its training people; train it on clips of which some are neutral")
    if statistics is None:
        return identity(reference)
    mean = _shrunk(statistics.mean, reference.neutral, statistics.count)
    return _onto(mean, np.ones_like(mean), reference.neutral)


def _shrunk(mean: Vector, everybody: Vector, count: int) -> Vector:
    return np.asarray((count * mean + PRIOR * everybody) / (count + PRIOR), np.float32)


def _onto(mean: Vector, scale: NDArray[np.floating], target: Vector) -> Baseline:
    return Baseline(np.asarray(scale, np.float32), np.asarray(target - mean * scale, np.float32))


def each_from_others(moments: Moments, reference: Reference, mode: Mode, neutral: NDArray[np.bool_]) -> list[Baseline]:
    """Return the baseline of each of a person's n clips, made of the person's other recordings alone.

    Args:
        moments: Those of the clips.
        reference: Everybody's.
        mode: `subject` takes all clips, `neutral` and `iterative` the neutral ones, and `none` changes nothing.
        neutral: Which clips are known, or were found, to be neutral, bool (n,).
    """
    if mode == "none":
        return [identity(reference) for _ in neutral]
    if mode == "subject":
        return [from_clips(others, reference) for others in moments.of_others()]
    return [from_neutral(others, reference) for others in moments.of_others(neutral)]


def find_neutral(clips: Clips, reference: Reference, answer: Callable[[Clips], NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Find a person's most neutral clips without any labels, by the model's own answers, until they stay the same.

    The search starts from the median frame.

    Args:
        clips: The person's clips, or windows of long footage: embeddings, float32 (frames, d) each.
        reference: Everybody's, with a neutral mean.
        answer: Returns the probability of neutral, (n,), of each of n clips that show a frame, given their moved embeddings.

    Returns:
        Which clips are the most neutral quarter, one at least, bool (n,); none if no clip shows a frame.
    """
    visible = [row for row, clip in enumerate(clips) if len(clip)]
    neutral = np.zeros(len(clips), bool)
    if not visible:
        return neutral
    moments = Moments(clips)
    median = np.median(np.concatenate([clips[row] for row in visible]), axis=0).astype(np.float32)
    baseline = from_neutral(Statistics(median, reference.spread, len(visible)), reference)
    for _ in range(ROUNDS):
        probabilities = answer([baseline(clips[row]) for row in visible])
        most = np.argsort(-probabilities, kind="stable")[: max(1, round(NEUTRAL_SHARE * len(visible)))]
        before, neutral = neutral, np.zeros(len(clips), bool)
        neutral[np.array(visible)[most]] = True
        if (neutral == before).all():
            break
        baseline = from_neutral(moments.statistics(neutral), reference)
    return neutral
