"""The `lstm` section of params.yaml; each key is explained there."""

from typing import Annotated, Literal

from pydantic import Field

from vfer.lstm.baseline import Mode
from vfer.params import Params

Architecture = Literal["lstm", "two_lstms", "bidirectional_lstm", "gru", "lstm_attention", "transformer", "temporal_convolutions"]


class LstmParams(Params):
    """How the sequence model is built and trained, and what it may know of a person."""

    architecture: Architecture
    units: Annotated[int, Field(ge=1, le=8192)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    input_dropout: Annotated[float, Field(ge=0, lt=1)]
    noise: Annotated[float, Field(ge=0, le=10)]
    frame_dropout: Annotated[float, Field(ge=0, lt=1)]
    time_jitter: Annotated[float, Field(ge=0, lt=1)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=1)]
    refit: bool
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_balance: Annotated[float, Field(ge=0, le=1)]
    max_frames: Annotated[int, Field(ge=2, le=100_000)]
    baseline: Mode
    neutral: str
    neutral_clips: Annotated[int, Field(ge=1)]
    deterministic: bool
