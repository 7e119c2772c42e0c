"""Networks over the frames of a clip: recurrent ones, with attention, a transformer, and convolutions in time."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import KerasTensor, layers, ops
from numpy.typing import NDArray

from vfer.errors import ParamsError

Course = Callable[["Frames", int, float], KerasTensor]
"""Makes one vector a clip, (batch, width), of its frames, given units and dropout."""
HEADS = 4
KERNEL = 3
DILATIONS = (1, 2, 4)
FLOOR = 0.1
"""Share of the mean spread that every dimension is taken to spread at least, so that one at rest in training cannot dominate at use."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Statistics of the training clips: `mean` and `spread` of their embeddings, float32 (d,), and the median `step` between frames."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    step: float


def scaling(values: NDArray[np.float32], step: float) -> Scaling:
    """Return the scaling of frames, float32 (n, d), that follow each other with a median step of time, in seconds."""
    spread = values.std(axis=0, dtype=np.float64)
    floor = FLOOR * float(spread.mean()) or 1.0
    return Scaling(values.mean(axis=0, dtype=np.float64).astype(np.float32), np.hypot(spread, floor).astype(np.float32), step)


@dataclass(frozen=True, eq=False)
class Frames:
    """What a network sees of padded clips.

    `x` is (batch, time, d), zero if a clip is padded; `shown` is bool (batch, time), False there; `place` is (batch, time), the time
    since the first frame in steps of the training clips.
    """

    x: KerasTensor
    shown: KerasTensor
    place: KerasTensor

    @property
    def mask(self) -> KerasTensor:
        """1 for frames and 0 for padding, float32 (batch, time, 1)."""
        return ops.expand_dims(ops.cast(self.shown, "float32"), -1)


def build(
    architecture: str,
    width: int,
    classes: int,
    units: int,
    dropout: float,
    scaling: Scaling,
    *,
    input_dropout: float = 0,
    noise: float = 0,
) -> keras.Model:
    """Return an untrained classifier of padded clips.

    Args:
        architecture: A key of `ARCHITECTURES`.
        width: Width of the embeddings.
        classes: Number of expressions.
        units: Width of the layers inside.
        dropout: Share of the units that is dropped in training.
        scaling: That of the training clips.
        input_dropout: Share of the embeddings' dimensions that is dropped in training, for all frames of a clip.
        noise: Standard deviation of the noise added in training, in spreads of the embeddings.

    Returns:
        A model of the inputs `embeddings`, float32 (batch, time, width), and `time`, float32 (batch, time), in seconds, increasing and
        not negative; padding is on the right, with a time of -1. The output is `probabilities`, float32 (batch, classes).

    Raises:
        ParamsError: The architecture is unknown.
        ValueError: There are fewer than 2 classes.
    """
    if architecture not in ARCHITECTURES:
        raise ParamsError(f"lstm.architecture: {architecture!r} is unknown; expected one of {', '.join(ARCHITECTURES)}")
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
    inputs = {"embeddings": keras.Input((None, width), name="embeddings"), "time": keras.Input((None,), name="time")}
    # Keras's layer `Normalization` would keep its statistics as tensors, which the exporter takes for further inputs.
    x = (inputs["embeddings"] - scaling.mean) / scaling.spread
    x = layers.SpatialDropout1D(input_dropout, name="input_dropout")(x)
    x = layers.GaussianNoise(noise, name="noise")(x)
    x = ARCHITECTURES[architecture](_frames(x, inputs["time"], scaling.step), units, dropout)
    x = layers.Dropout(dropout, name="dropout")(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, {"probabilities": probabilities}, name=architecture)


def _frames(x: KerasTensor, time: KerasTensor, step: float) -> Frames:
    """Add two dimensions to the embeddings: the step of time to the frame before, and by how much the clip's shortest is exceeded."""
    shown = ops.greater_equal(time, 0)
    later = ops.logical_and(shown[:, 1:], shown[:, :-1])  # frames that have one before them
    steps = ops.clip((time[:, 1:] - time[:, :-1]) / step, 1 / 8, 8)
    shortest = ops.min(ops.where(later, steps, 8.0), axis=1, keepdims=True, initial=8.0)
    clock = ops.stack([ops.log2(steps), ops.log2(1 + ops.maximum(steps - shortest, 0))], axis=-1)
    clock = ops.where(ops.expand_dims(later, -1), clock, 0.0)
    first = ops.zeros_like(x[:, :1, :2])
    place = (time - time[:, :1]) / step
    mask = ops.expand_dims(ops.cast(shown, "float32"), -1)
    return Frames(ops.concatenate([x, ops.concatenate([first, clock], axis=1)], axis=-1) * mask, shown, place)


def _mean(x: KerasTensor, mask: KerasTensor) -> KerasTensor:
    """The mean over the frames."""
    return ops.sum(x * mask, axis=1) / ops.sum(mask, axis=1)


def lstm(frames: Frames, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """The paper's: one layer, its last output.

    Source: Abdullah, Ahmad and Han, "Facial Expression Recognition in Videos: An CNN-LSTM based Model for Video Classification", 2020.
    """
    return layers.LSTM(units, name="lstm")(frames.x, mask=frames.shown)


def two_lstms(frames: Frames, units: int, dropout: float) -> KerasTensor:
    """Two layers, dropout between them."""
    x = layers.LSTM(units, return_sequences=True, name="lstm1")(frames.x, mask=frames.shown)
    return layers.LSTM(units, name="lstm2")(layers.Dropout(dropout, name="between")(x), mask=frames.shown)


def bidirectional(frames: Frames, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """One layer forwards and one backwards, half of the units each, side by side."""
    return layers.Bidirectional(layers.LSTM(max(1, units // 2)), name="bidirectional")(frames.x, mask=frames.shown)


def gru(frames: Frames, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """Gated recurrent units. Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014."""
    return layers.GRU(units, name="gru")(frames.x, mask=frames.shown)


def attention(frames: Frames, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """The mean of an LSTM's outputs, weighted by a small network's score for each.

    Source: Yang et al., "Hierarchical Attention Networks for Document Classification", 2016.
    """
    states = layers.LSTM(units, return_sequences=True, name="lstm")(frames.x, mask=frames.shown)
    scores = layers.Dense(1, name="score")(layers.Dense(units, activation="tanh", name="attention")(states))
    scores = ops.where(ops.expand_dims(frames.shown, -1), scores, -1e9)
    return ops.sum(states * ops.softmax(scores, axis=1), axis=1)


def transformer(frames: Frames, units: int, dropout: float) -> KerasTensor:
    """One layer of a pre-norm encoder over projected frames, with sines of their time, and the mean of its outputs.

    Source: Vaswani et al., "Attention Is All You Need", 2017; Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
    """
    width = HEADS * max(1, units // HEADS)
    frequencies = np.power(10_000, -2 * (np.arange(width) // 2) / width).astype(np.float32)
    # A cosine is a sine a quarter of a turn later.
    angles = ops.expand_dims(frames.place, -1) * frequencies + (np.arange(width) % 2 * np.pi / 2).astype(np.float32)
    y = layers.Dense(width, name="project")(frames.x) + ops.sin(angles)
    z = layers.LayerNormalization(name="norm1")(y)
    z = layers.MultiHeadAttention(HEADS, width // HEADS, dropout=dropout, name="attention")(
        z, z, attention_mask=ops.expand_dims(frames.shown, 1)
    )
    y = y + z
    z = layers.Dense(2 * width, name="widen")(layers.LayerNormalization(name="norm2")(y))
    z = ops.gelu(z, approximate=True)  # ONNX has no operation for the exact one
    z = layers.Dense(width, name="narrow")(layers.Dropout(dropout, name="inside")(z))
    return _mean(layers.LayerNormalization(name="norm3")(y + z), frames.mask)


def temporal(frames: Frames, units: int, dropout: float) -> KerasTensor:
    """Residual convolutions in time, further apart from block to block, and the mean of their outputs.

    Padding is set to zero before each convolution, so that a clip is answered alike however long its batch is.
    Source: Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", 2018.
    """
    y = layers.Dense(units, name="project")(frames.x) * frames.mask
    for number, dilation in enumerate(DILATIONS, start=1):
        z = layers.Conv1D(units, KERNEL, padding="same", dilation_rate=dilation, activation="relu", name=f"conv{number}a")(y)
        z = layers.Dropout(dropout, name=f"dropout{number}")(z) * frames.mask
        z = layers.Conv1D(units, KERNEL, padding="same", dilation_rate=dilation, name=f"conv{number}b")(z)
        y = ops.relu(y + z) * frames.mask
    return _mean(y, frames.mask)


ARCHITECTURES: dict[str, Course] = {
    "lstm": lstm,
    "two_lstms": two_lstms,
    "bidirectional_lstm": bidirectional,
    "gru": gru,
    "lstm_attention": attention,
    "transformer": transformer,
    "temporal_convolutions": temporal,
}
