"""The settings of a sequence model, as its ONNX file holds them."""

from pydantic import ValidationError

from vfer.errors import WeightsError
from vfer.lstm.baseline import Mode
from vfer.nets.session import Network
from vfer.params import Params

KEY = "sequence"
"""Under which the ONNX file holds the settings, as JSON."""


class SequenceSettings(Params):
    """What a sequence model was trained with and must be used with.

    `baseline`, `neutral`, `neutral_clips` and `max_frames` are those of the section `lstm`; `step` is the median time between the frames of
    the training clips, and `seconds` their median length.
    """

    baseline: Mode
    neutral: str
    neutral_clips: int
    max_frames: int
    step: float
    seconds: float


def settings_of(network: Network) -> SequenceSettings:
    """Return the settings that a loaded model holds.

    Raises:
        WeightsError: It holds none, since an earlier version of vfer has trained it, or unreadable ones.
    """
    try:
        return SequenceSettings.model_validate_json(network.metadata.get(KEY, ""))
    except ValidationError as error:
        raise WeightsError("the sequence model was trained by another version of vfer and does not fit this one; train it again") from error
