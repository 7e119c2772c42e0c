"""The `cnn` and `tune` sections of params.yaml; each key is explained there."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vfer import params
from vfer.params import Params


class FitParams(Params):
    """How a CNN is fitted to faces, of stills or of clips."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    frozen_epochs: Annotated[int, Field(ge=0, le=10_000)]
    frozen_learning_rate: Annotated[float, Field(gt=0, le=1)]
    patience: Annotated[int, Field(ge=1)]
    monitor: Literal["loss", "accuracy"]
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    averaging: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augmentation: Annotated[float, Field(ge=0, le=1)]
    erasing: Annotated[float, Field(ge=0, le=1)]
    mixup: Annotated[float, Field(ge=0, le=10)]
    class_balance: Annotated[float, Field(ge=0, le=1)]
    deterministic: bool


class CnnParams(FitParams):
    """How the CNN is built and trained."""

    weights: Literal["trained", "shipped"]
    architecture: str
    embedding: Annotated[int, Field(ge=2, le=4096)]
    looks: Literal[1, 2, 6]
    head: Literal["label", "votes", "both"]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    votes: Annotated[float, Field(ge=0, le=10)]
    distillation: Annotated[float, Field(ge=0, le=1)]
    progressive: bool
    drop_duplicates: bool
    precision: Literal["float32", "mixed_bfloat16", "auto"]

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


class TuneParams(FitParams):
    """How the CNN is fine-tuned on faces of the training clips; with `epochs: 0` it is not."""

    epochs: Annotated[int, Field(ge=0, le=10_000)]
    frames: Annotated[int, Field(ge=1, le=100_000)]
    looks: Literal[1, 2, 6]

    @classmethod
    def load(cls, config: Path) -> "TuneParams":
        """Return the section of a params file; where features come from another tool, there is no CNN, and it is off."""
        section = params.load(config, "tune", cls)
        return section.model_copy(update={"epochs": 0}) if params.unneeded(config) else section
