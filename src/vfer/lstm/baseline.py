"""A person's own baseline: their embeddings, moved from where that person's lie to where everybody's lie.

At rest one face looks angry to a network and another sad. Other clips of the same person, unlabelled or known to be neutral, say how.
Sources: Busso et al., "Iterative Feature Normalization Scheme for Automatic Emotion Detection from Speech", 2013, for the iteration;
Baltrusaitis et al., "Cross-dataset learning and person-specific normalisation for automatic Action Unit detection", 2015.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets.session import Network

Mode = Literal["none", "subject", "neutral", "iterative"]
Vector = NDArray[np.float32]
Clips = Sequence[NDArray[np.float32]]

KNOWS = {
    "subject": "knows the person's other clips, not their labels",
    "neutral": "knows some of the person's neutral clips, which are not scored",
    "iterative": "knows the person's other clips, not their labels, and finds the neutral ones",
}
"""What an answer relative to a person's baseline knows of the person; it must stand beside every figure of such answers."""
PRIOR = 2
"""How many clips everybody's statistics count for beside a person's own."""
KEY = "baseline"
"""Under which a network's ONNX file holds the reference, as JSON."""
FLOOR = 0.3
"""Share of everybody's spread that is added to both spreads, so that a dimension in which a person hardly moves is not blown up."""
NEUTRAL_SHARE = 0.25
"""Share of a person's clips that `find_neutral` takes for neutral."""
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Statistics:
    """Where a person's embeddings lie: mean and spread (standard deviation), float32 (d,) each, over `count` clips."""

    mean: Vector
    spread: Vector
    count: int


@dataclass(frozen=True, eq=False)
class Reference:
    """Where everybody's embeddings lie, every person weighed alike: float32 (d,) each.

    `neutral` is the mean over the neutral clips alone; None if none are known.
    """

    mean: Vector
    spread: Vector
    neutral: Vector | None = None

    def to_json(self) -> str:
        """Return the reference as JSON, in which the values keep their float32 precision."""
        neutral = None if self.neutral is None else self.neutral.tolist()
        return json.dumps({"mean": self.mean.tolist(), "spread": self.spread.tolist(), "neutral": neutral})

    @classmethod
    def from_json(cls, text: str) -> "Reference":
        """Return the reference that `to_json` wrote.

        Raises:
            WeightsError: The text is no such JSON, or its vectors differ in length.
        """
        try:
            content = json.loads(text)
            mean, spread = (np.asarray(content[name], np.float32) for name in ("mean", "spread"))
            neutral = None if content["neutral"] is None else np.asarray(content["neutral"], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsError("the model holds no readable baseline statistics; train it again") from error
        if mean.ndim != 1 or any(vector.shape != mean.shape for vector in (spread, mean if neutral is None else neutral)):
            raise WeightsError("the model's baseline statistics differ in length; train it again")
        return cls(mean, spread, neutral)


def reference_of(network: Network) -> Reference:
    """Return the reference that a loaded network holds.

    Raises:
        WeightsError: It holds none, or an unreadable one.
    """
    if KEY not in network.metadata:
        raise WeightsError("the model holds no baseline statistics; train it again with this version of vfer")
    return Reference.from_json(network.metadata[KEY])


@dataclass(frozen=True, eq=False)
class Baseline:
    """The map of one person's embeddings: each dimension scaled, then shifted; float32 (d,) each."""

    scale: Vector
    offset: Vector

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings, float32 (..., d), relative to everybody."""
        return np.asarray(embeddings * self.scale + self.offset, np.float32)


def identity(reference: Reference) -> Baseline:
    """Return the baseline of a person of whom nothing is known: embeddings stay as they are."""
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


class Moments:
    """First and second moments of each of n clips: what all statistics over any of them are made of.

    Args:
        clips: Embeddings, float32 (frames, d) each; a clip without frames counts for nothing.
        recordings: Names the performance that each clip shows; files of one recording count as one clip. By default all differ.
    """

    def __init__(self, clips: Clips, recordings: Sequence[str] | None = None) -> None:
        names = list(recordings or map(str, range(len(clips))))
        self.recordings = np.unique(names, return_inverse=True)[1]
        self._shown = np.array([len(clip) > 0 for clip in clips], bool)
        self._moments = np.array([_moments(clip) for clip in clips if len(clip)], np.float64)

    def statistics(self, selection: NDArray[np.bool_] | None = None) -> Statistics | None:
        """Return the statistics of the `chosen` clips, bool (n,), or of all; None if none of them shows a frame."""
        return join(self.by_recording(selection)[1])

    def of_others(self, selection: NDArray[np.bool_] | None = None) -> list[Statistics | None]:
        """Return, for each clip, the statistics of the `chosen` clips of other recordings."""
        numbers, rows = self.by_recording(selection)
        return [join(rows[numbers != own]) for own in self.recordings]

    def by_recording(self, selection: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the numbers of the recordings of the `chosen` clips, sorted, as `recordings` has them for each clip, and the mean
        moments of each, float64 (recordings, 2, d)."""
        mask = np.ones(len(self._moments), bool) if selection is None else selection[self._shown]
        names, places, counts = np.unique(self.recordings[self._shown][mask], return_inverse=True, return_counts=True)
        sums = np.zeros((len(names), *self._moments.shape[1:]))
        np.add.at(sums, places, self._moments[mask])
        return names, sums / counts.reshape(-1, *[1] * (sums.ndim - 1))


def _moments(clip: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.stack([clip.mean(axis=0, dtype=np.float64), np.square(clip, dtype=np.float64).mean(axis=0)])


def join(rows: NDArray[np.float64]) -> Statistics | None:
    """Return the statistics of recordings from the moments of each, float64 (recordings, 2, d); None of none."""
    if not len(rows):
        return None
    mean, square = rows.mean(axis=0)
    return Statistics(mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32), len(rows))


def statistics(clips: Clips, recordings: Sequence[str] | None = None) -> Statistics | None:
    """Return the statistics of a person's clips; None if none shows a frame. For the arguments see `Moments`."""
    return Moments(clips, recordings).statistics()


def everybody(people: Sequence[Statistics | None], neutral: Sequence[Statistics | None] = ()) -> Reference:
    """Return the reference of the people that a model is trained on, one at least.

    Args:
        people: Statistics of each person's clips; None if none shows a frame.
        neutral: Statistics of each person's neutral clips; None if there are none.
    """
    spreads = [np.square(person.spread, dtype=np.float64) for person in people if person]
    resting = [person.mean for person in neutral if person]
    mean = _mean([person.mean for person in people if person])
    return Reference(mean, np.sqrt(_mean(spreads)), _mean(resting) if resting else None)


def _mean(vectors: Sequence[NDArray[np.floating]]) -> Vector:
    return np.asarray(np.mean(vectors, axis=0, dtype=np.float64), np.float32)


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

    At first the median frame stands for neutral.

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
