"""The settings that a model was trained with and is used with, stored beside it in `settings.json`."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vfer.data.catalogue.manifest import Framing
from vfer.data.tables.reading import Reading
from vfer.faces.params import FacesParams
from vfer.video.frames import FramesParams


class DetectorFile(BaseModel):
    """The detector that found the faces in training, and the hash of its weights."""

    name: str = "centerface"
    sha256: str = ""


class Windows(BaseModel):
    """Stretches of a video that are answered one by one: each `length` seconds long, beginning every `hop` seconds."""

    length: Annotated[float, Field(gt=0)] = 2.5
    hop: Annotated[float, Field(gt=0)] = 0.25


class Settings(BaseModel):
    """The settings of a model.

    `max_frames` is the most frames of a clip that the sequence model sees, `framing` that of the training clips, and `threshold` the
    confidence below which an answer is uncertain. `sources` are the datasets of the training clips, none where nothing says. A model on
    feature tables has `tables`, how they are read, and looks at no video.
    """

    model_config = ConfigDict(extra="ignore")  # a model that a later version of vfer has registered may say more

    frames: FramesParams = FramesParams()
    faces: FacesParams = FacesParams()
    detector: DetectorFile = DetectorFile()
    max_frames: Annotated[int, Field(ge=2)] = 256
    framing: Framing = "scene"
    windows: Windows = Windows()
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    sources: tuple[str, ...] = ()
    tables: Reading | None = None

    def to_json(self) -> str:
        """Return the settings as `settings.json` holds them."""
        return self.model_dump_json(indent=2, exclude_none=True)


STEPS = 10  # windows begin so many times within the length of one
FEWEST = 10  # validation answers that say whether those below a confidence are to be trusted


def windows(times: Sequence[NDArray[np.float64]]) -> Windows:
    """Return windows as long as the median training clip, whose frames' times in seconds are given."""
    lengths = [float(time[-1] - time[0]) * len(time) / (len(time) - 1) for time in times if len(time) > 1]
    length = round(float(np.median(lengths)), 3) if lengths else Windows().length
    return Windows(length=length, hop=round(length / STEPS, 3))


def threshold(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return the confidence below which the answers to validation clips are more often wrong than right.

    Args:
        probabilities: One row per clip, float32 (n, classes); NaN where it shows no face.
        truth: Its class, int64 (n,).

    Returns:
        The largest confidence of which this holds for all answers below it; 0 if it holds of none, or where there are too few.
    """
    with_answer = ~np.isnan(probabilities).any(axis=1)
    confidence = probabilities[with_answer].max(axis=1, initial=0)
    right = probabilities[with_answer].argmax(axis=1) == truth[with_answer] if with_answer.any() else np.zeros(0, bool)
    order = np.argsort(confidence, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    wrong = np.flatnonzero((shares < 0.5) & (np.arange(1, len(order) + 1) >= FEWEST))
    if not len(wrong):
        return 0.0
    return round(float(np.nextafter(confidence[order][wrong[-1]], np.float32(1))), 6)
