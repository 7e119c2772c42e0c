"""The errors of an MLflow store that cannot be used: one line with the reason, and a remedy that loses nothing."""

import re
from pathlib import Path

from vfer.errors import TrackingError
from vfer.files import FULL
from vfer.register import address

MOST = 160  # characters of another library's message
PAGE = "answered with a web page instead of MLflow's API (a login page?)"
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


def unreachable(store: str, error: Exception) -> TrackingError:
    """Return the error of a store that does not answer, or not as one does."""
    text = str(error)
    if path := address.database(store):
        return TrackingError(f"MLflow store {store} {_of_database(path, text)}")
    if re.search(r"\b(401|403|PERMISSION_DENIED|UNAUTHENTICATED)\b", text):
        return TrackingError(f"MLflow store {store} denies access ({one_line(error)}); {LOGIN}")
    if re.search(r"not in a valid JSON|<!doctype|<html", text, re.IGNORECASE):
        return TrackingError(f"MLflow store {store} {PAGE}; check MLFLOW_TRACKING_URI, and {LOGIN}")
    remedy = "start the server, or unset MLFLOW_TRACKING_URI to use the repository's own"
    return TrackingError(f"MLflow store {store} does not answer ({one_line(error)}); {remedy}")


def _of_database(path: Path, text: str) -> str:
    if "locked" in text:
        return "is locked by another process; wait until that has finished, then run again"
    if "disk" in text and "full" in text:
        return "cannot grow because the disk is full; free some space and run again"
    return f"cannot be used ({one_line(text)}); rename {path}, and the next run creates a new one"


def deleted(store: str, project: str, number: str) -> TrackingError:
    """Return the error of an experiment that was deleted in MLflow, which keeps it until `mlflow gc`."""
    restore = f"MLFLOW_TRACKING_URI='{store}' mlflow experiments restore -x {number}"
    return TrackingError(f"the MLflow experiment {project} has been deleted; restore it with `{restore}`")


def unwritable(path: Path, error: Exception) -> TrackingError:
    """Return the error of a lock or a database that may not be written."""
    why = getattr(error, "strerror", None) or one_line(error)
    if getattr(error, "errno", None) in FULL:
        return TrackingError(f"{path}: cannot be written, because the disk, or your quota of it, is full; free some space and run again")
    return TrackingError(f"{path}: is not writable ({why}); make it writable, or set MLFLOW_TRACKING_URI to another store")


def failed(root: Path, error: Exception, remedy: str) -> TrackingError:
    """Return the error of a store that failed half-way."""
    return TrackingError(f"MLflow at {address.uri(root)} failed ({one_line(error)}); {remedy}")


def one_line(error: Exception | str) -> str:
    """Return the beginning of an error's message, on one line."""
    return " ".join(str(error).split())[:MOST]
