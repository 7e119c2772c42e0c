"""The registered model `vfer`: paths of videos in, expressions out. MLflow runs this file to load it; nothing is pickled."""

import json
from pathlib import Path

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel

from vfer.errors import ClipError
from vfer.faces import centerface
from vfer.faces.params import FacesParams
from vfer.faces.weights import Chosen
from vfer.nets.session import Session
from vfer.predict.recogniser import Recogniser, Recognition
from vfer.video.frames import FramesParams


class Moment(BaseModel):
    """One sampled frame: seconds from the start, whether a face was found there, and what the CNN alone makes of it."""

    time: float
    status: str
    expression: str | None = None
    probability: float | None = None


class Answer(BaseModel):
    """What one video shows; without a face there is no expression, and a video that cannot be used has an error instead."""

    path: str
    expression: str | None = None
    probabilities: dict[str, float] = {}
    coverage: float | None = None
    timeline: list[Moment] = []
    error: str | None = None


class VferModel(PythonModel):
    """Recognises the expression in each of a list of videos."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the networks and the detector, with the params that they were trained with."""
        files = {name: Path(path) for name, path in context.artifacts.items()}
        settings = json.loads(files["settings"].read_text())
        faces = FacesParams(**settings["faces"])
        name, sha256 = settings["detector"]["name"], settings["detector"]["sha256"]
        detector = Chosen(name, files.get("detector", centerface.path()), sha256, "the model was trained with it").load(faces)
        cnn, lstm = Session(files["cnn"]), Session(files["lstm"])
        self._recogniser = Recogniser(cnn, lstm, detector, FramesParams(**settings["frames"]), faces, settings["max_frames"])

    def predict(self, model_input: list[str]) -> list[Answer]:  # type: ignore[override]  # MLflow reads the signature off these types
        """Returns one answer a video, in the order of the paths."""
        return [self._answer(path) for path in model_input]

    def _answer(self, path: str) -> Answer:
        try:
            shown = self._recogniser.recognise(Path(path))
        except ClipError as error:
            return Answer(path=path, error=str(error))
        coverage = float((shown.sequence.status != "none").mean())
        timeline = _timeline(shown, self._recogniser.frame_classes)
        if np.isnan(shown.probabilities).any():
            return Answer(path=path, coverage=coverage, timeline=timeline, error=f"{path}: no frame shows a face")
        names = self._recogniser.classes
        return Answer(
            path=path,
            expression=names[int(shown.probabilities.argmax())],
            probabilities=dict(zip(names, shown.probabilities.tolist(), strict=True)),
            coverage=coverage,
            timeline=timeline,
        )


def _timeline(shown: Recognition, names: list[str]) -> list[Moment]:
    return [
        Moment(time=float(time), status=str(status))
        if status == "none"
        else Moment(time=float(time), status=str(status), expression=names[int(row.argmax())], probability=float(row.max()))
        for time, status, row in zip(shown.sequence.time, shown.sequence.status, shown.sequence.probabilities, strict=True)
    ]


mlflow.models.set_model(VferModel())
