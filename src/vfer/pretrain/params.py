"""The `pretrain` section of params.yaml; each key is explained there."""

from typing import Annotated, Literal

from pydantic import Field

from vfer.params import Params


class PretrainParams(Params):
    """Whether and on what the backbone is trained before the CNN, and how."""

    enabled: bool
    identities: Annotated[str, Field(min_length=1)]
    min_faces: Annotated[int, Field(ge=3)]
    max_bad: Annotated[float, Field(ge=0, le=1)]
    validation: Annotated[float, Field(gt=0, lt=1)]
    head: Literal["softmax", "margin"]
    margin: Annotated[float, Field(ge=0, lt=1)]
    scale: Annotated[float, Field(ge=1, le=1000)]
    embedding: Annotated[int, Field(ge=2, le=4096)]
    augmentation: Annotated[float, Field(ge=0, le=1)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    deterministic: bool
