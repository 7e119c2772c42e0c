"""The `lstm` section of params.yaml; each key is explained where it stands there."""

from typing import Annotated

from pydantic import Field

from vfer.params import Params


class LstmParams(Params):
    """How the sequence model is built and trained."""

    units: Annotated[int, Field(ge=1, le=8192)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    class_balance: Annotated[float, Field(ge=0, le=1)]
    max_frames: Annotated[int, Field(ge=2, le=100_000)]
    deterministic: bool
