"""Facial expression recognition in videos, as a versioned data pipeline.

Importing this loads nothing slow: what it offers is loaded on first use.
"""

from typing import TYPE_CHECKING

from vfer.errors import VferError

if TYPE_CHECKING:
    from vfer.predict.api import load
    from vfer.predict.prediction import Prediction
    from vfer.predict.recogniser import Recogniser

__all__ = ["Prediction", "Recogniser", "VferError", "load"]

_HOMES = {"Prediction": "vfer.predict.prediction", "Recogniser": "vfer.predict.recogniser", "load": "vfer.predict.api"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
