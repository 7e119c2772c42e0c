"""Builds the CNN: a backbone, a fully connected `embedding` layer where it is later cut, and a classifier."""

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from vfer.cnn import mini_xception, xception

SIDE = 48
BACKBONES: dict[str, Callable[[KerasTensor], KerasTensor]] = {
    "mini_xception": mini_xception.backbone,
    "xception": xception.backbone,
}


def build(architecture: str, classes: int, embedding: int, dropout: float) -> keras.Model:
    """Returns an untrained model from grey faces to two named outputs.

    Input `crop`: float32 (batch, 48, 48, 1), 0 to 255. Outputs: `embedding`, float32 (batch, embedding), and
    `probabilities`, float32 (batch, classes). Raises `ValueError` for an unknown architecture or fewer than 2 classes.
    """
    if architecture not in BACKBONES:
        raise ValueError(f"architecture {architecture!r} is unknown; expected one of {', '.join(BACKBONES)}")
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
    inputs = keras.Input((SIDE, SIDE, 1), name="crop")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = BACKBONES[architecture](x)
    x = layers.Dense(embedding, activation="relu", name="embedding_dense")(x)
    cut = layers.Activation("linear", dtype="float32", name="embedding")(x)
    x = layers.Dropout(dropout, name="dropout")(cut)
    probabilities = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, {"embedding": cut, "probabilities": probabilities}, name=architecture)


def classifier(model: keras.Model) -> keras.Model:
    """Returns the part of the model that is trained: crop to probabilities, sharing its weights."""
    return keras.Model(model.input, model.output["probabilities"], name=f"{model.name}_classifier")
