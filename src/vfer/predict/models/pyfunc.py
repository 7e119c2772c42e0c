"""The registered model `vfer`: paths of videos in, expressions out. MLflow runs this file to load it; nothing is pickled."""

import logging
from pathlib import Path

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel

from vfer.errors import ClipError, UnexpectedError
from vfer.predict.clip import NoClipError
from vfer.predict.models.model import from_artifacts
from vfer.predict.recogniser import Recogniser, Recognition

log = logging.getLogger(__name__)


class Moment(BaseModel):
    """One sampled frame: seconds from the start, whether a face was found there, and the answer of the CNN alone."""

    time: float
    status: str
    expression: str | None = None
    probability: float | None = None


class FilmSegment(BaseModel):
    """A stretch of a film, in seconds, in which one person shows one expression; `confidence` is the mean of its probability."""

    person: str
    start: float
    end: float
    expression: str
    confidence: float
    flags: list[str] = []


class Answer(BaseModel):
    """What one video shows; without a face there is no expression, and a video that cannot be used has an error instead.

    A film, which is long or has several shots, has no one expression, but segments of everybody in it.
    """

    path: str
    expression: str | None = None
    probabilities: dict[str, float] = {}
    coverage: float | None = None
    flags: list[str] = []
    timeline: list[Moment] = []
    segments: list[FilmSegment] = []
    error: str | None = None


class VferModel(PythonModel):
    """Recognises the expression in each of a list of videos."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the networks and the detector, with the params that they were trained with."""
        paths = {name: Path(path) for name, path in context.artifacts.items()}
        self._recogniser = Recogniser.open(from_artifacts(paths, "the registered model", ""))

    def predict(self, model_input: list[str]) -> list[Answer]:  # type: ignore[override]  # MLflow reads the signature off these types
        """Return one answer a video, in the order of the paths."""
        return [self._answer(path) for path in model_input]

    def _answer(self, path: str) -> Answer:
        try:
            try:
                return self._clip(path)
            except NoClipError as film:
                return self._film(path, film.flag)
        except ClipError as error:
            return Answer(path=path, error=str(error))
        except Exception as error:  # whatever is wrong with one video, the others are answered
            log.exception("%r could not be answered", path)
            return Answer(path=path, error=str(UnexpectedError.of(path, error)))

    def _film(self, path: str, flag: str) -> Answer:
        film = self._recogniser.timeline(path)
        segments = [
            FilmSegment(
                person=one.person,
                start=one.start,
                end=one.end,
                expression=one.expression,
                confidence=one.confidence,
                flags=list(one.flags),
            )
            for one in film.segments
        ]
        return Answer(path=path, flags=[flag], segments=segments, error=None if segments else f"{path}: no frame shows a face")

    def _clip(self, path: str) -> Answer:
        shown = self._recogniser.recognise(Path(path), only_clip=True)
        prediction = self._recogniser.answer(path, shown)
        return Answer(
            path=path,
            expression=prediction.expression,
            probabilities=dict(prediction.probabilities),
            coverage=prediction.coverage,
            flags=list(prediction.flags),
            timeline=_timeline(shown, self._recogniser.frame_classes),
            error=prediction.error,
        )


def _timeline(shown: Recognition, names: list[str]) -> list[Moment]:
    return [
        Moment(time=float(time), status=str(status))
        if status == "none" or not names  # on feature tables, there is no CNN
        else Moment(time=float(time), status=str(status), expression=names[int(row.argmax())], probability=float(row.max()))
        for time, status, row in zip(shown.sequence.time, shown.sequence.status, shown.sequence.probabilities, strict=True)
    ]


mlflow.models.set_model(VferModel())
