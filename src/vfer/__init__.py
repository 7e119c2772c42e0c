"""Facial expression recognition in videos, as a versioned data pipeline.

Names are loaded on first use, so that importing vfer is fast.

Example:
    >>> import vfer
    >>> recogniser = vfer.load()
    >>> recogniser.predict("clip.mp4").expression
    'happy'
"""

from typing import TYPE_CHECKING

from vfer.env import prepare_libraries
from vfer.errors import ClipError, ClusterError, DataError, ParamsError, TrackingError, VferError, WeightsError

if TYPE_CHECKING:
    from vfer.predict.api import load
    from vfer.predict.baselines import BaselineSource
    from vfer.predict.prediction import Prediction
    from vfer.predict.recogniser import Recogniser
    from vfer.predict.source import Span
    from vfer.predict.timeline.narrate import TimelineOptions
    from vfer.predict.timeline.timeline import Timeline

__all__ = [
    "BaselineSource",
    "ClipError",
    "ClusterError",
    "DataError",
    "ParamsError",
    "Prediction",
    "Recogniser",
    "Span",
    "Timeline",
    "TimelineOptions",
    "TrackingError",
    "VferError",
    "WeightsError",
    "load",
]

prepare_libraries()
_HOMES = {
    "BaselineSource": "vfer.predict.baselines",
    "Prediction": "vfer.predict.prediction",
    "Recogniser": "vfer.predict.recogniser",
    "Span": "vfer.predict.source",
    "Timeline": "vfer.predict.timeline.timeline",
    "TimelineOptions": "vfer.predict.timeline.narrate",
    "load": "vfer.predict.api",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("vfer")
        except PackageNotFoundError:  # in a registered model, which carries its own copy
            return "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
