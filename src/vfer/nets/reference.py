"""The distribution of people's embeddings: the statistics of one person's clips, and everybody's, which a network's file holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets.session import Network

Vector = NDArray[np.float32]
Clips = Sequence[NDArray[np.float32]]
KEY = "baseline"
"""Under which a network's ONNX file holds the reference, as JSON."""
NEUTRAL = "neutral"


@dataclass(frozen=True, eq=False)
class Statistics:
    """The distribution of a person's embeddings: mean and spread (standard deviation), float32 (d,) each, over `count` clips."""

    mean: Vector
    spread: Vector
    count: int


@dataclass(frozen=True, eq=False)
class Reference:
    """The distribution of everybody's embeddings, each person with the same weight: float32 (d,) each.

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
        """Return the statistics of the clips in `selection`, bool (n,), or of all; None if none of them shows a frame."""
        return join(self.by_recording(selection)[1])

    def of_others(self, selection: NDArray[np.bool_] | None = None) -> list[Statistics | None]:
        """Return, for each clip, the statistics of the clips in `selection` that are of other recordings."""
        numbers, rows = self.by_recording(selection)
        return [join(rows[numbers != own]) for own in self.recordings]

    def by_recording(self, selection: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the recordings of the clips in `selection` and the mean moments of each.

        Returns:
            The numbers of the recordings, sorted, as `recordings` has them for each clip, int64 (recordings,), and their mean moments,
            float64 (recordings, 2, d).
        """
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


def of_faces(embeddings: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str]) -> Reference:
    """Return the reference of the embeddings of faces, each class weighed alike.

    Args:
        embeddings: The CNN's embeddings of the faces, float32 (n, d).
        labels: Class numbers, int64 (n,).
        names: The classes.
    """
    by_class = [embeddings[labels == number] for number in range(len(names))]
    neutral = [by_class[names.index(NEUTRAL)]] if NEUTRAL in names else []
    return everybody([statistics(by_class)], [statistics(neutral)])
