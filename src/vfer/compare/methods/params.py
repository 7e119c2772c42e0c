"""The `methods` section of comparison/params.yaml; each key is explained there."""

from typing import Annotated

from pydantic import Field

from vfer.params import Params


class NetParams(Params):
    """How the nets over frames are built and trained."""

    units: Annotated[int, Field(ge=1, le=4096)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    class_balance: Annotated[float, Field(ge=0, le=1)]
    volume_frames: Annotated[int, Field(ge=4, le=256)]


class EncodingParams(Params):
    """How the encodings over a clip's frames are made, and the support vector machines behind them."""

    components: Annotated[int, Field(ge=1, le=4096)]
    centres: Annotated[int, Field(ge=1, le=4096)]
    frames: Annotated[int, Field(ge=10, le=10_000_000)]
    strengths: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class MethodsParams(Params):
    """Both."""

    nets: NetParams
    encodings: EncodingParams
