"""The `cnn` section of params.yaml; each key is explained where it stands there."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from vfer.params import Params


class CnnParams(Params):
    """How the CNN is built and trained."""

    weights: Literal["trained", "shipped"]
    architecture: str
    embedding: int = Field(ge=2, le=4096)
    dropout: float = Field(ge=0, lt=1)
    looks: Literal[1, 2, 6]
    head: Literal["label", "votes", "both"]
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
    votes: float = Field(ge=0, le=10)
    distillation: float = Field(ge=0, le=1)
    progressive: bool
    drop_duplicates: bool
    precision: Literal["float32", "mixed_bfloat16", "auto"]
    deterministic: bool

    @property
    def separable(self) -> bool:
        """Whether the architecture may hold separable convolutions; one's own may."""
        return self.architecture not in ("resnet", "mobilenet")

    @model_validator(mode="after")
    def _check_head(self) -> "CnnParams":
        if self.head != "label" and not self.votes:
            raise ValueError(f"head: {self.head} needs a head that learns votes; set votes above 0, or head: label")
        return self

    @field_validator("architecture")
    @classmethod
    def _watched(cls, value: str) -> str:
        if not re.fullmatch(r"\w+|architectures(\.\w+)+:\w+", value):
            raise ValueError("expected a name, or architectures.module:function in the folder architectures, which DVC watches")
        return value

    @property
    def modules(self) -> list[str]:
        """The module of an architecture of the user's own."""
        module = self.architecture.rpartition(":")[0]
        return [module] if module else []
