"""A model's predictions for sequences of frames, plain or relative to a person's own baseline."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfer.cnn import head
from vfer.cnn.head import Head
from vfer.features import cache
from vfer.features.cache import Embeddings
from vfer.lstm import baseline
from vfer.lstm.baseline import Baseline
from vfer.lstm.sequences import predict
from vfer.lstm.settings import KEY, settings_of
from vfer.nets import reference
from vfer.nets.reference import Reference
from vfer.nets.session import Session

NEUTRAL = "neutral"


class EmbeddedFrames(NamedTuple):
    """The frames of a clip or a window that show the face.

    `embeddings` are float32 (n, d), `probabilities`, the CNN's, float32 (n, classes), and `time` float64 (n,) seconds.
    """

    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    time: NDArray[np.float64]

    @classmethod
    def of(cls, sequence: cache.Sequence) -> "EmbeddedFrames":
        """Return those frames of a clip."""
        present = sequence.status != "none"
        return cls(sequence.embedding[present], sequence.probabilities[present], sequence.time[present])


class Answerer:
    """The sequence model, or, without one, the mean of the CNN's answers to each frame.

    Args:
        cnn: The CNN; None for a model on feature tables.
        lstm: The sequence model, or None.
        max_frames: Frames to which a longer sequence is thinned for it.
    """

    def __init__(self, cnn: Session | None, lstm: Session | None, max_frames: int) -> None:
        last, first = lstm or cnn, cnn or lstm
        if last is None or first is None:
            raise ValueError("a model has a CNN, a sequence model, or both")
        self._cnn, self._lstm, self._max_frames = first, lstm, max_frames
        self._head: Head | None = None
        self.classes = last.classes
        self.single = lstm is None
        settings = settings_of(lstm) if lstm and KEY in lstm.metadata else None
        self._mode, self._neutral = (settings.baseline, settings.neutral) if settings else ("none", NEUTRAL)

    def __call__(self, clips: Sequence[EmbeddedFrames], reference: Baseline | None = None) -> NDArray[np.float32]:
        """Return probabilities, float32 (n, classes), NaN for clips without frames; relative to a person's own baseline, if any."""
        if self._lstm:
            sequences = [Embeddings(reference(clip.embeddings) if reference else clip.embeddings, clip.time) for clip in clips]
            return np.asarray(predict(self._lstm, sequences, self._max_frames), np.float32)
        result = np.full((len(clips), len(self.classes)), np.nan, np.float32)
        for row, clip in enumerate(clips):
            if len(clip.time):
                probabilities = self._classify(reference(clip.embeddings)) if reference else clip.probabilities
                result[row] = probabilities.mean(axis=0)
        return result

    def _classify(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        self._head = self._head or head.of(self._cnn)
        return self._head(embeddings)

    def reference(self) -> Reference:
        """Return the distribution of everybody's embeddings; raise `WeightsError` if the model holds none."""
        held = self._lstm is not None and reference.KEY in self._lstm.metadata
        return reference.reference_of(self._lstm if held and self._lstm else self._cnn)

    def find_neutral(self, clips: Sequence[EmbeddedFrames]) -> Baseline:
        """Return a person's baseline, found in clips or windows of which nothing is known.

        The most neutral of them, by the model's own answers, are taken for the person's neutral face; where the model knows no such
        face, all of them are taken for a mix of expressions.
        """
        everybody = self.reference()
        values = [clip.embeddings for clip in clips]
        if not self._knows_neutral(everybody):
            return baseline.from_clips(reference.statistics(values), everybody)
        neutral = self._most_neutral(clips, everybody)
        most_neutral = [clip for clip, is_neutral in zip(values, neutral, strict=True) if is_neutral]
        return baseline.from_neutral(reference.statistics(most_neutral), everybody)

    def _knows_neutral(self, everybody: Reference) -> bool:
        return self._neutral in self.classes and everybody.neutral is not None

    def _most_neutral(self, clips: Sequence[EmbeddedFrames], everybody: Reference) -> NDArray[np.bool_]:
        """Return which of a person's clips the model finds most neutral, bool (n,)."""
        neutral = self.classes.index(self._neutral)
        times = [clip.time for clip in clips if len(clip.time)]

        def answer(moved: Sequence[NDArray[np.float32]]) -> NDArray[np.floating]:
            if self._lstm is None:
                return np.array([self._classify(one).mean(axis=0)[neutral] for one in moved])
            windows = [EmbeddedFrames(one, np.empty((len(one), 0), np.float32), time) for one, time in zip(moved, times, strict=True)]
            return np.asarray(self(windows)[:, neutral])

        return baseline.find_neutral([clip.embeddings for clip in clips], everybody, answer)

    def from_neutral(self, clips: Sequence[EmbeddedFrames]) -> Baseline:
        """Return a person's baseline from clips or windows that are known to show the neutral face."""
        return baseline.from_neutral(reference.statistics([clip.embeddings for clip in clips]), self.reference())

    def from_others(self, clips: Sequence[EmbeddedFrames]) -> list[tuple[Baseline, int]]:
        """Return, for each of a person's clips, the baseline that the person's other clips make, and how many of them make it.

        A model that is trained with `lstm.baseline: neutral` or `iterative` takes those that it finds most neutral, and others take all.
        """
        everybody, moments = self.reference(), reference.Moments([clip.embeddings for clip in clips])
        if self._mode in ("neutral", "iterative") and self._knows_neutral(everybody):
            others = moments.of_others(self._most_neutral(clips, everybody))
            return [(baseline.from_neutral(one, everybody), one.count if one else 0) for one in others]
        return [(baseline.from_clips(one, everybody), one.count if one else 0) for one in moments.of_others()]
