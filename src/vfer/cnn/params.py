"""The `cnn` section of params.yaml; each key is explained where it stands there."""

from typing import Literal

from pydantic import Field

from vfer.params import Params


class CnnParams(Params):
    """How the CNN is built and trained."""

    weights: Literal["trained", "shipped"]
    architecture: str = Field(pattern=r"^\w+$|^\w+(\.\w+)*:\w+$")
    embedding: int = Field(ge=2, le=4096)
    dropout: float = Field(ge=0, lt=1)
    flip_average: bool
    frozen_epochs: int = Field(ge=0, le=10_000)
    frozen_learning_rate: float = Field(gt=0, le=1)
    epochs: int = Field(ge=1, le=10_000)
    patience: int = Field(ge=1)
    monitor: Literal["loss", "accuracy"]
    batch_size: int = Field(ge=2, le=65_536)
    learning_rate: float = Field(gt=0, le=1)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1)
    averaging: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    augmentation: float = Field(ge=0, le=1)
    erasing: float = Field(ge=0, le=1)
    mixup: float = Field(ge=0, le=10)
    class_balance: float = Field(ge=0, le=1)
    distributions: bool
    drop_duplicates: bool
    precision: Literal["float32", "mixed_bfloat16", "auto"]
    deterministic: bool
