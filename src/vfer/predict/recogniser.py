"""A trained model applied to videos: to clips, which have one expression, and to films, in which it follows everybody over time."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.manifest import Framing
from vfer.data.tables.read import read
from vfer.data.tables.tool import TOOLS
from vfer.errors import ClipError, WeightsError
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.features import cache
from vfer.lstm.baseline import Baseline
from vfer.nets.session import Session
from vfer.predict import baselines, clip
from vfer.predict.answering import Answerer, EmbeddedFrames
from vfer.predict.clip import Limits, NoClipError
from vfer.predict.models.model import Model
from vfer.predict.prediction import PARTLY, SEVERAL, UNCERTAIN, Prediction
from vfer.predict.source import WHOLE, Span
from vfer.predict.timeline import narrate
from vfer.predict.timeline.narrate import PLAIN, TimelineOptions
from vfer.predict.timeline.observe import Observation, Observer
from vfer.predict.timeline.timeline import Timeline
from vfer.predict.timeline.windows import Stretch
from vfer.register.settings import Settings
from vfer.video.decode import Video
from vfer.video.frames import FramesParams

MOST_SECONDS = 30.0  # a longer video is not a clip, unless the training clips were that long
HALF = 0.5


@dataclass(frozen=True)
class Recognition:
    """What a clip shows.

    `probabilities` holds one a class, float32 (classes,), NaN where no frame shows a face; `sequence` holds the frames with
    their times, statuses and the CNN's own probabilities. `doubts` are what makes an answer doubtful.
    """

    probabilities: NDArray[np.float32]
    sequence: cache.Sequence
    doubts: tuple[str, ...] = ()


class Recogniser:
    """The CNN, the sequence model and the detector, with the params that the stages ran with.

    Without a sequence model a clip's probabilities are the mean of the CNN's over the frames that show the face. A model on feature tables
    has neither CNN nor detector, and its clips are CSV files. `title` says which model it is; `vfer.load` makes one.
    """

    def __init__(
        self,
        cnn: Session | None,
        lstm: Session | None,
        detector: Detector | None,
        frames_params: FramesParams,
        faces_params: FacesParams,
        max_frames: int,
        *,
        settings: Settings | None = None,
    ) -> None:
        self._cnn, self._detector = cnn, detector
        self._frames, self._faces, self._max_frames = frames_params, faces_params, max_frames
        self.answerer = Answerer(cnn, lstm, max_frames)
        self.settings = settings or Settings(frames=frames_params, faces=faces_params, max_frames=max_frames)
        self.title = self.run_id = self.digest = ""
        self.classes = self.answerer.classes
        self.frame_classes = cnn.classes if cnn else []

    @classmethod
    def open(cls, model: Model) -> "Recogniser":
        """Load a model's networks and its detector.

        Raises:
            WeightsError: If a file is missing or damaged.
        """
        settings = model.settings
        cnn, lstm = (Session(path) if path else None for path in (model.cnn, model.lstm))
        detector = model.detector.load(settings.faces) if model.detector else None
        recogniser = cls(cnn, lstm, detector, settings.frames, settings.faces, settings.max_frames, settings=settings)
        recogniser.title, recogniser.run_id, recogniser.digest = model.title, model.run_id, model.digest
        return recogniser

    def with_rates(self, *, fps: float | None = None, detect_every: int | None = None) -> "Recogniser":
        """Return a recogniser that samples or detects at other rates than the model was trained with."""
        other = copy(self)
        other._frames = self._frames.model_copy(update={"fps": fps} if fps else {})
        other._faces = self._faces.model_copy(update={"detect_every": detect_every} if detect_every else {})
        return other

    def predict(self, video: Path | str, *, span: Span = WHOLE, framing: Framing | None = None, name: str | None = None) -> Prediction:
        """Answer one clip.

        Args:
            video: A video of one person and one shot.
            span: The part of it to analyse.
            framing: `scene`, where a face must be found, or `face`, where each picture is one; by default as the training clips were.
            name: Its name in the answer; by default its path.

        Returns:
            The answer; one with an `error`, and without an expression, where the clip cannot be used.
        """
        name = name or str(video)
        try:
            return self.answer(name, self.recognise(Path(video), span=span, framing=framing, only_clip=True))
        except NoClipError as error:
            return Prediction(name, flags=(error.flag,), error=str(error))
        except ClipError as error:
            return Prediction(name, error=str(error))

    def recognise(
        self, video: Path, *, span: Span = WHOLE, framing: Framing | None = None, only_clip: bool = False, fewest: int | None = None
    ) -> Recognition:
        """Recognise the expression of the followed face.

        Args:
            video: The video.
            span: As for `predict`.
            framing: As for `predict`.
            only_clip: Whether to refuse a video that is long or has several shots.
            fewest: Frames that it must have; by default as in training.

        Raises:
            ClipError: The video cannot be used; `NoClipError`, where it is refused.
        """
        if self.settings.tables:
            sequence = read(video, str(video), self.settings.tables)
            doubts = (PARTLY,) if (sequence.status == "none").mean() > HALF else ()
            return Recognition(self.answerer([EmbeddedFrames.of(sequence)])[0], sequence, doubts)
        longest = max(MOST_SECONDS, self._max_frames / self.settings.frames.fps) if only_clip else None
        limits = Limits(self._frames.min_frames if fewest is None else fewest, longest)
        params = self._frames, self._faces
        content = clip.look(video, span, framing or self.settings.framing, limits, *self._eyes(), params)
        doubtful = {SEVERAL: content.crowded >= HALF, PARTLY: bool((content.sequence.status == "none").mean() > HALF)}
        raised = tuple(flag for flag, on in doubtful.items() if on)
        return Recognition(self.answerer([EmbeddedFrames.of(content.sequence)])[0], content.sequence, (*raised, *content.flags))

    def answer(self, name: str, shown: Recognition, own: tuple[Baseline, str] | None = None) -> Prediction:
        """Turn what a clip shows into an answer; relative to the person's own baseline, with where that is from, if any."""
        sequence = shown.sequence
        seconds = float(sequence.time[-1] - sequence.time[0])
        prediction = Prediction(name, coverage=float((sequence.status != "none").mean()), frames=len(sequence.time), seconds=seconds)
        if np.isnan(shown.probabilities).any():
            return replace(prediction, error=f"{name}: no frame shows a face", flags=shown.doubts)
        probabilities, plain = shown.probabilities, shown.probabilities
        if own:
            probabilities = self.answerer([EmbeddedFrames.of(sequence)], own[0])[0]
            prediction = replace(prediction, baseline=own[1], plain=self._by_class(plain))
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        flags = (UNCERTAIN, *shown.doubts) if confidence < self.settings.threshold else shown.doubts
        by_class = self._by_class(probabilities)
        return replace(prediction, expression=self.classes[best], confidence=confidence, probabilities=by_class, flags=flags)

    def _by_class(self, probabilities: NDArray[np.float32]) -> dict[str, float]:
        return dict(zip(self.classes, probabilities.tolist(), strict=True))

    def timeline(self, video: Path | str, how: TimelineOptions = PLAIN, advance: Callable[[float], None] = lambda _: None) -> Timeline:
        """Answer for everybody in a video of any length, at every sampled frame.

        Args:
            video: The video.
            how: The options of the analysis.
            advance: Hears the seconds up to which the video was looked at.

        Returns:
            The rows, the segments and the people.

        Raises:
            ClipError: The video cannot be used.
            WeightsError: The model works on feature tables.
        """
        self._eyes()
        return narrate.tell(self, Path(video), how, advance)

    def observer(self, framing: Framing | None = None, *, pictures: bool = False) -> Observer:
        """Return what watches a video for this model."""
        framing = framing or self.settings.framing
        return Observer(*self._eyes(), self._frames, self._faces, framing, pictures=pictures)

    def _eyes(self) -> tuple[Session, Detector]:
        """The CNN and the detector; raises `WeightsError` for a model on feature tables."""
        if self._cnn is None or self._detector is None:
            tool = TOOLS[self.settings.tables.tool].title if self.settings.tables else "another tool"
            raise WeightsError(f"{self.title}: was trained on tables of {tool}, not on videos; give `vfer predict` their CSV files")
        return self._cnn, self._detector

    def period(self, about: Video) -> float:
        """Return the seconds between two sampled frames of a video."""
        return 1 / min(self._frames.fps, about.rate)

    def settings_used(self) -> Settings:
        """Return the settings with the rates that are used, which may be others than in training."""
        return self.settings.model_copy(update={"frames": self._frames, "faces": self._faces})

    def stretch(self, baseline: Baseline | None = None) -> Stretch:
        """Return what answers for one person in one shot, relative to the person's own baseline, if any."""

        def answer(windows: Sequence[Sequence[Observation]]) -> NDArray[np.float32]:
            return self.answerer([baselines.embedded(window) for window in windows], baseline)

        return Stretch(answer, self.settings.windows, single=self.answerer.single)
