"""Networks over a clip's embeddings: recurrent ones, with attention, a transformer, and convolutions in time."""

from collections.abc import Callable

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from vfer.compare.methods.base import Clips, Method, Numbers, Task, Vectors
from vfer.compare.methods.nets import Inputs, ended, net
from vfer.lstm.sequences import PADDING, pad

Course = Callable[[KerasTensor, int, float], KerasTensor]
"""Makes one vector of embeddings (batch, time, d), given units and dropout."""
HEADS = 4
KERNEL = 3
DILATIONS = (1, 2, 4)


def padded(train: Clips, task: Task) -> Inputs:
    """Returns embeddings padded on the right to the longest training clip, float32 (n, longest, d); longer ones are thinned."""
    longest = min(max(map(len, train.embeddings)), task.nets.max_frames)

    def inputs(clips: Clips, rows: Numbers, _: np.random.Generator | None) -> Vectors:
        return pad([clips.embeddings[row] for row in rows], longest, full=True)

    return inputs


def method(course: Course) -> Method:
    """Returns the method that makes one vector of the course of the embeddings, and answers by it, after dropout."""

    def build(shape: tuple[int, ...], task: Task) -> keras.Model:
        inputs = keras.Input(shape, name="embeddings")
        return ended(inputs, course(inputs, task.nets.units, task.nets.dropout), task)

    return net(padded, build)


def lstm(x: KerasTensor, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """The paper's: one layer, its last output."""
    return layers.LSTM(units)(layers.Masking(PADDING)(x))


def two_lstms(x: KerasTensor, units: int, dropout: float) -> KerasTensor:
    """Two layers, dropout between them."""
    x = layers.LSTM(units, return_sequences=True)(layers.Masking(PADDING)(x))
    return layers.LSTM(units)(layers.Dropout(dropout)(x))


def bidirectional(x: KerasTensor, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """One layer forwards and one backwards, half of the units each, side by side."""
    return layers.Bidirectional(layers.LSTM(max(1, units // 2)))(layers.Masking(PADDING)(x))


def gru(x: KerasTensor, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """Gated recurrent units. Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014."""
    return layers.GRU(units)(layers.Masking(PADDING)(x))


def attention(x: KerasTensor, units: int, dropout: float) -> KerasTensor:  # noqa: ARG001
    """The mean of an LSTM's outputs, weighed by what a small network makes of each.

    Source: Yang et al., "Hierarchical Attention Networks for Document Classification", 2016.
    """
    shown = Shown()(x)
    states = layers.LSTM(units, return_sequences=True)(layers.Masking(PADDING)(x))
    scores = layers.Dense(1)(layers.Dense(units, activation="tanh")(states))
    return Pooled()([states, scores, shown])


def transformer(x: KerasTensor, units: int, dropout: float) -> KerasTensor:
    """One layer of a pre-norm encoder over projected frames with sines for their places, and the mean of its outputs.

    Source: Vaswani et al., "Attention Is All You Need", 2017; Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
    """
    shown = Shown()(x)
    mask = ops.expand_dims(shown, 1)
    y = Placed()(layers.Dense(units)(x))
    z = layers.LayerNormalization()(y)
    z = layers.MultiHeadAttention(HEADS, max(1, units // HEADS), dropout=dropout)(z, z, attention_mask=mask)
    y = layers.Add()([y, z])
    z = layers.Dense(2 * units, activation="gelu")(layers.LayerNormalization()(y))
    y = layers.LayerNormalization()(layers.Add()([y, layers.Dense(units)(layers.Dropout(dropout)(z))]))
    return Pooled()([y, ops.zeros_like(y[..., :1]), shown])


def temporal(x: KerasTensor, units: int, dropout: float) -> KerasTensor:
    """Residual convolutions in time, further apart from block to block, and the mean of their outputs.

    Source: Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", 2018.
    """
    shown = Shown()(x)
    y = Cleared()([layers.Dense(units)(x), shown])
    for dilation in DILATIONS:
        z = layers.Conv1D(units, KERNEL, padding="same", dilation_rate=dilation, activation="relu")(y)
        z = layers.Conv1D(units, KERNEL, padding="same", dilation_rate=dilation)(layers.Dropout(dropout)(z))
        y = Cleared()([layers.ReLU()(layers.Add()([y, z])), shown])
    return Pooled()([y, ops.zeros_like(y[..., :1]), shown])


class Shown(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Says which frames are no padding, bool (batch, time)."""

    def call(self, x: KerasTensor) -> KerasTensor:
        """Maps float32 (batch, time, d)."""
        return ops.any(ops.not_equal(x, PADDING), axis=-1)


class Cleared(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Sets the outputs of padding to zero, so that they do not leak into frames beside."""

    def call(self, given: list[KerasTensor]) -> KerasTensor:
        """Maps float32 (batch, time, d) and bool (batch, time) to the former's shape."""
        x, shown = given
        return x * ops.cast(ops.expand_dims(shown, -1), x.dtype)


class Pooled(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The mean over the frames that are no padding, weighed by the softmax of their scores."""

    def call(self, given: list[KerasTensor]) -> KerasTensor:
        """Maps float32 (batch, time, d) and (batch, time, 1), and bool (batch, time), to (batch, d)."""
        x, scores, shown = given
        scores = ops.where(ops.expand_dims(shown, -1), scores, -1e9)
        return ops.sum(x * ops.softmax(scores, axis=1), axis=1)

    def compute_mask(self, inputs: list[KerasTensor], previous_mask: object) -> None:
        """Ends Keras's own mask here: what comes out has no time."""


class Placed(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Adds sines and cosines of a frame's place."""

    def call(self, x: KerasTensor) -> KerasTensor:
        """Maps float32 (batch, time, d) to the same shape."""
        time, width = x.shape[1], x.shape[2]
        places = np.arange(time)[:, None] / 10_000 ** (2 * (np.arange(width) // 2) / width)
        return x + ops.convert_to_tensor(np.where(np.arange(width) % 2, np.cos(places), np.sin(places)).astype(np.float32))


METHODS = {
    "lstm": method(lstm),
    "two_lstms": method(two_lstms),
    "bidirectional_lstm": method(bidirectional),
    "gru": method(gru),
    "lstm_attention": method(attention),
    "transformer": method(transformer),
    "temporal_convolutions": method(temporal),
}
