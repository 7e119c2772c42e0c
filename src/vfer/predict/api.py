"""The public entry point: `vfer.load()`."""

from pathlib import Path

from vfer.predict.models import model as models
from vfer.predict.recogniser import Recogniser


def load(model: str | Path | None = None) -> Recogniser:
    """Load a model to be used on videos.

    Args:
        model: `models:/NAME@ALIAS` or `models:/NAME/VERSION` in the MLflow store that `MLFLOW_TRACKING_URI` or the repository around the
            current folder gives, a model folder, or `shipped` for the network that comes with vfer. None: the store's champion, or the
            network that comes with vfer where there is none.

    Returns:
        A recogniser; its `title` says which model it uses.

    Raises:
        TrackingError: The MLflow store cannot be asked, or has no such model.
        WeightsError: The model's files are missing or damaged.

    Example:
        >>> recogniser = vfer.load()
        >>> recogniser.predict("clip.mp4").expression
        'happy'
    """
    return Recogniser.open(models.find(None if model is None else str(model)))
