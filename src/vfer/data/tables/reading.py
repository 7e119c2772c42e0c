"""How feature tables are read, as a model that was trained on them must store it."""

from collections.abc import Sequence

from pydantic import BaseModel

from vfer.data.tables.params import FeaturesParams


class Reading(BaseModel):
    """How tables are read: the tool, the names of the action units, and, of `features`, the confidence and the frame rate."""

    tool: str
    units: list[str]
    confidence: float
    fps: float

    @classmethod
    def of(cls, params: FeaturesParams, units: Sequence[str]) -> "Reading":
        """Return how the tables of a dataset are read."""
        return cls(tool=params.source, units=list(units), confidence=params.confidence, fps=params.fps)
