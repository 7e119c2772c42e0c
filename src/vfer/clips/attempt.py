"""The work on one clip: an error that it raises is set aside with that clip, unless it concerns all clips."""

import traceback
from collections.abc import Callable
from typing import Protocol, TypeVar

from vfer.errors import ClipError, UnexpectedError, VferError
from vfer.files import UNWRITABLE


class Job(Protocol):
    """One clip's work; it is pickled into the worker."""

    @property
    def clip(self) -> str:
        """Name of the clip."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")


def attempt(work: Callable[[J], R], job: J) -> R | ClipError:
    """Return what the work gives, or the error that sets its clip aside.

    Raises other errors of vfer, which concern all clips alike, and those of a disk that is full or read-only.
    """
    try:
        return work(job)
    except UnexpectedError as error:
        error.trace = traceback.format_exc()
        return error
    except ClipError as error:
        return error
    except VferError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise  # it would set every clip aside
        unexpected = UnexpectedError.of(job.clip, error)
        unexpected.trace = traceback.format_exc()
        return unexpected


def died(clip: str, seconds: float | None = None) -> ClipError:
    """Return why a clip is set aside that kills its worker each time, or where a worker ends itself after some seconds."""
    why = f"crash, out of memory, or more than {seconds:g} s" if seconds else "crash or out of memory"
    return ClipError(f"{clip}: its worker died ({why}); check the file")


def late(clip: str, seconds: float) -> ClipError:
    """Return why a clip is set aside whose work does not end."""
    return ClipError(f"{clip}: took more than {seconds:g} s and was stopped; check or shorten the file")
