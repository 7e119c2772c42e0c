"""Annotations of videos, whatever tool they were made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AnnotatedPart:
    """One labelled stretch of a video: whose expression, from when to when, and the face's boxes there, float32 (n, 4), if known.

    `reason` says why it is skipped.
    """

    person: str
    start: float
    end: float
    expression: str
    boxes: "NDArray[np.float32] | None" = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class AnnotatedVideo:
    """A video with its parts, and the hash that it had when it was looked at, if known."""

    origin: str
    video: Path
    parts: Sequence[AnnotatedPart]
    sha256: str = ""


def place(name: str, paths: Sequence[Path], videos: Mapping[str, Path]) -> Path:
    """Return where a video lies: among those that were given, or at the first of the places that name it which holds a file."""
    if name in videos:
        return videos[name]
    return next((path for path in paths if path.is_file()), paths[0])
