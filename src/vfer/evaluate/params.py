"""The `evaluate` section of params.yaml; each key is explained there."""

from typing import Annotated

from pydantic import Field

from vfer.evaluate.figures import Faceless
from vfer.params import Params


class EvaluateParams(Params):
    """How sure the figures are to be, and how the vote of single frames is fitted."""

    faceless: Faceless
    confidence: Annotated[float, Field(gt=0, lt=1)]
    vote_frames: Annotated[int, Field(ge=1)]
