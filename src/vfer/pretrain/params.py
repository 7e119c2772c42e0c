"""The `pretrain` section of params.yaml; each key is explained where it stands there."""

from typing import Literal

from pydantic import Field

from vfer.params import Params


class PretrainParams(Params):
    """Whether and on what the backbone is trained before the CNN, and how."""

    enabled: bool
    identities: str = Field(min_length=1)
    min_faces: int = Field(ge=3)
    max_bad: float = Field(ge=0, le=1)
    validation: float = Field(gt=0, lt=1)
    head: Literal["softmax", "margin"]
    margin: float = Field(ge=0, lt=1)
    scale: float = Field(ge=1, le=1000)
    embedding: int = Field(ge=2, le=4096)
    augmentation: float = Field(ge=0, le=1)
    epochs: int = Field(ge=1, le=10_000)
    patience: int = Field(ge=1)
    batch_size: int = Field(ge=2, le=65_536)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)
    deterministic: bool
