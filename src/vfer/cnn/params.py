"""The `cnn` section of params.yaml; each key is explained where it stands there."""

from typing import Literal

from pydantic import Field

from vfer.params import Params


class CnnParams(Params):
    """How the CNN is built and trained."""

    architecture: Literal["mini_xception", "xception"]
    embedding: int = Field(ge=2, le=4096)
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1, le=10_000)
    patience: int = Field(ge=1)
    batch_size: int = Field(ge=2, le=65_536)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)
    label_smoothing: float = Field(ge=0, lt=1)
    augmentation: float = Field(ge=0, le=1)
    class_balance: float = Field(ge=0, le=1)
    precision: Literal["float32", "mixed_bfloat16"]
    deterministic: bool
