"""A trained model put to work on videos: short clips are answered as the stages answer them, to the last bit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer import features
from vfer.data.manifest import Framing
from vfer.errors import ClipError
from vfer.faces.clip import Picture, find
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.lstm.sequences import predict
from vfer.nets.session import Session
from vfer.predict import shots, source
from vfer.predict.model import Model
from vfer.predict.prediction import LONG, PARTLY, SEVERAL, SHOTS, UNCERTAIN, Prediction
from vfer.predict.settings import Settings
from vfer.predict.source import WHOLE, Span
from vfer.video import frames
from vfer.video.frames import FramesParams

MOST_SECONDS = 30.0  # a longer video is no clip, unless the training clips were that long
NEARLY = 0.5  # a second face of this share of the largest one's width could have been meant
HALF = 0.5


@dataclass(frozen=True)
class Recognition:
    """What a clip shows.

    `probabilities` holds one a class, float32 (classes,), NaN where no frame shows a face; `sequence` holds the frames with
    their times, statuses and the CNN's own probabilities. `crowded` is the share of the searched frames with several faces.
    """

    probabilities: NDArray[np.float32]
    sequence: features.Sequence
    crowded: float = 0.0


class NoClipError(ClipError):
    """A video that is no clip, but a film to be looked at through time; `flag` says why."""

    def __init__(self, message: str, flag: str) -> None:
        super().__init__(message)
        self.flag = flag


class _Crowd:
    """A detector that counts in how many pictures it finds a second face of a like size."""

    def __init__(self, detector: Detector, score: float) -> None:
        self.name, self.sha256 = detector.name, detector.sha256
        self._detector, self._score = detector, score
        self._searched = self._crowded = 0

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        boxes = self._detector(grey, score)
        widths = sorted(boxes[boxes[:, 4] >= self._score, 2] - boxes[boxes[:, 4] >= self._score, 0])
        self._searched += 1
        self._crowded += len(widths) > 1 and widths[-2] >= NEARLY * widths[-1]
        return boxes

    @property
    def share(self) -> float:
        return self._crowded / max(1, self._searched)


class Recogniser:
    """The CNN, the sequence model and the detector, with the params that the stages ran with.

    Without a sequence model a clip's probabilities are the mean of the CNN's over the frames that show the face.
    """

    def __init__(
        self,
        cnn: Session,
        lstm: Session | None,
        detector: Detector,
        frames_params: FramesParams,
        faces_params: FacesParams,
        max_frames: int,
        *,
        settings: Settings | None = None,
        title: str = "",
    ) -> None:
        self._cnn, self._lstm, self._detector = cnn, lstm, detector
        self._frames, self._faces, self._max_frames = frames_params, faces_params, max_frames
        self.settings = settings or Settings(frames=frames_params, faces=faces_params, max_frames=max_frames)
        self.title = title
        self.classes = (lstm or cnn).classes
        self.frame_classes = cnn.classes

    @classmethod
    def open(cls, model: Model) -> "Recogniser":
        """Loads a model's networks and its detector; raises `WeightsError` where a file is missing or damaged."""
        settings = model.settings
        sessions = Session(model.cnn), Session(model.lstm) if model.lstm else None
        detector = model.detector.load(settings.faces)
        return cls(*sessions, detector, settings.frames, settings.faces, settings.max_frames, settings=settings, title=model.title)

    def with_rates(self, *, fps: float | None = None, detect_every: int | None = None) -> "Recogniser":
        """Returns a recogniser that samples or detects at other rates than the model was trained with."""
        frames_params = self._frames.model_copy(update={"fps": fps} if fps else {})
        faces_params = self._faces.model_copy(update={"detect_every": detect_every} if detect_every else {})
        return Recogniser(
            self._cnn, self._lstm, self._detector, frames_params, faces_params, self._max_frames, settings=self.settings, title=self.title
        )

    def predict(self, video: Path | str, *, span: Span = WHOLE, framing: Framing | None = None, clip: str | None = None) -> Prediction:
        """Answers one clip.

        Args:
            video: A video of one person and one shot.
            span: The part of it to look at.
            framing: `scene`, where a face must be found, or `face`, where each picture is one; by default as the training clips were.
            clip: Its name in the answer; by default its path.

        Returns:
            The answer; one with an `error`, and without an expression, where the clip cannot be used.
        """
        name = clip or str(video)
        try:
            return self.answer(name, self.recognise(Path(video), span=span, framing=framing, only_clip=True))
        except NoClipError as error:
            return Prediction(name, flags=(error.flag,), error=str(error))
        except ClipError as error:
            return Prediction(name, error=str(error))

    def answer(self, path: str, shown: Recognition) -> Prediction:
        """Turns what a clip shows into an answer, with what makes it doubtful."""
        sequence = shown.sequence
        coverage = float((sequence.status != "none").mean())
        prediction = Prediction(path, coverage=coverage, frames=len(sequence.time), seconds=float(sequence.time[-1] - sequence.time[0]))
        if np.isnan(shown.probabilities).any():
            return replace(prediction, error=f"{path}: no frame shows a face")
        best = int(shown.probabilities.argmax())
        confidence = float(shown.probabilities[best])
        doubts = {
            UNCERTAIN: confidence < self.settings.threshold,
            SEVERAL: shown.crowded >= HALF,
            PARTLY: coverage < HALF,
        }
        return replace(
            prediction,
            expression=self.classes[best],
            confidence=confidence,
            probabilities=dict(zip(self.classes, shown.probabilities.tolist(), strict=True)),
            flags=tuple(flag for flag, raised in doubts.items() if raised),
        )

    def recognise(self, video: Path, *, span: Span = WHOLE, framing: Framing | None = None, only_clip: bool = False) -> Recognition:
        """Recognises the expression of the followed face.

        Raises `ClipError` where the video cannot be used; with `only_clip`, `NoClipError` where it is long or has several shots.
        """
        stored = self._sampled(video, span, only_clip)

        def pictures() -> Iterator[Picture]:
            for index, time, jpeg in stored:  # through JPEG, as the stages store them, for the same answer to the last bit
                yield index, time, partial(frames.decode, jpeg)

        height, width = frames.decode(stored[0][2]).shape
        metadata = {"clip": str(video), "framing": framing or self.settings.framing, "width": str(width), "height": str(height)}
        detector = _Crowd(self._detector, self._faces.score)
        sequence = features.embed(self._cnn, str(video), find(pictures, metadata, detector, self._faces), batch_size=256)
        return Recognition(self.probabilities(sequence), sequence, detector.share)

    def probabilities(self, sequence: features.Sequence) -> NDArray[np.float32]:
        """Returns one probability a class for a sequence of frames, float32 (classes,); NaN where none shows a face."""
        if self._lstm:
            return np.asarray(predict(self._lstm, [sequence.faces], self._max_frames)[0], np.float32)
        present = sequence.probabilities[sequence.status != "none"]
        return present.mean(axis=0) if len(present) else np.full(len(self.classes), np.nan, np.float32)

    def _sampled(self, video: Path, span: Span, only_clip: bool) -> list[tuple[int, float, bytes]]:
        params = self._frames
        most = max(MOST_SECONDS, self._max_frames / self.settings.frames.fps)
        stored: list[tuple[int, float, bytes]] = []
        small: list[NDArray[np.uint8]] = []
        for frame in source.sampled(video, params.fps, params.max_side, span):
            if only_clip and frame.time - (stored[0][1] if stored else frame.time) > most:
                raise NoClipError(f"{video}: is longer than {most:g} s; look at it with `vfer timeline`", LONG)
            stored.append((frame.index, frame.time, frames.encode(frame.grey, params.jpeg_quality)))
            small += [shots.small(frame.grey)] if only_clip else []
        if len(stored) < params.min_frames:
            raise ClipError(f"{video}: gives {len(stored)} frame, fewer than frames.min_frames ({params.min_frames})")
        if only_clip and shots.several(small, params.fps):
            raise NoClipError(f"{video}: shows several shots; look at it with `vfer timeline`", SHOTS)
        return stored
