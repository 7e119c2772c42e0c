"""Builds the sequence model: one LSTM layer and dropout."""

import keras
from keras import layers

from vfer.lstm.sequences import PADDING


def build(width: int, classes: int, units: int, dropout: float) -> keras.Model:
    """Returns an untrained model from padded embeddings to one named output.

    Input `embeddings`: float32 (batch, time, width), padded on the right with -1, which is masked. Output
    `probabilities`: float32 (batch, classes). Raises `ValueError` for fewer than 2 classes. Source: Abdullah, Ahmad and
    Han, "Facial Expression Recognition in Videos: An CNN-LSTM based Model for Video Classification", 2020.
    """
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
    inputs = keras.Input((None, width), name="embeddings")
    x = layers.Masking(PADDING, name="mask")(inputs)
    x = layers.LSTM(units, use_cudnn="auto", name="lstm")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, {"probabilities": probabilities}, name="lstm")
