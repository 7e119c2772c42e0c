"""The `features` section of params.yaml; each key is explained there."""

from typing import Annotated, Literal

from pydantic import Field

from vfer.params import Params


class FeaturesParams(Params):
    """Where features come from, and how they are read or computed."""

    source: Literal["cnn", "openface", "pyfeat"] = "cnn"
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.8
    fps: Annotated[float, Field(gt=0, le=1000)] = 30
    max_bad: Annotated[float, Field(ge=0, le=1)] = 0.1
