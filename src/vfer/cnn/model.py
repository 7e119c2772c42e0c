"""Builds the CNN: a backbone, a fully connected `embedding` layer where it is later cut, and a classifier."""

from collections.abc import Callable
from importlib import import_module

import keras
import numpy as np
from keras import KerasTensor, layers
from numpy.typing import NDArray

from vfer.errors import ParamsError
from vfer.nets import mini_xception, resnet, xception

SIDE = 48
Backbone = Callable[[KerasTensor], KerasTensor]
BACKBONES: dict[str, Backbone] = {
    "mini_xception": mini_xception.backbone,
    "xception": xception.backbone,
    "resnet": resnet.backbone,
}


def build(architecture: str, classes: int, embedding: int, dropout: float) -> keras.Model:
    """Returns an untrained model from grey faces to two named outputs.

    Input `crop`: float32 (batch, 48, 48, 1), 0 to 255. Outputs: `embedding`, float32 (batch, embedding), none negative, and
    `probabilities`, float32 (batch, classes). Raises `ParamsError` for an unknown architecture, `ValueError` for fewer than 2 classes.
    """
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
    inputs = keras.Input((SIDE, SIDE, 1), name="crop")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = backbone(architecture)(x)
    x = layers.Dense(embedding, activation="relu", name="embedding_dense")(x)
    cut = layers.Activation("linear", dtype="float32", name="embedding")(x)
    x = layers.Dropout(dropout, name="dropout")(cut)
    probabilities = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, {"embedding": cut, "probabilities": probabilities}, name=architecture.rpartition(":")[2])


def backbone(architecture: str) -> Backbone:
    """Returns the function that maps scaled faces (batch, 48, 48, 1) to pooled features (batch, width), by name or as `module:function`.

    Python finds a module of one's own at the repository's root, too. Raises `ParamsError` where there is no such function.
    """
    module, _, name = architecture.rpartition(":")
    if not module:
        if name not in BACKBONES:
            raise ParamsError(
                f"cnn.architecture: {name!r} is unknown; expected {', '.join(BACKBONES)}, or your own as package.module:function"
            )
        return BACKBONES[name]
    try:
        found: Backbone = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ParamsError(f"cnn.architecture: {architecture!r} cannot be imported ({error}); expected package.module:function") from error
    return found


def mirrored(model: keras.Model) -> keras.Model:
    """Returns a model, sharing its weights, whose outputs are the mean over each face and its mirror image."""
    inputs = keras.Input(model.input_shape[1:], name="crop")
    seen, flipped = model(inputs), model(inputs[:, :, ::-1, :])
    means = {name: layers.Average(dtype="float32", name=name)([seen[name], flipped[name]]) for name in seen}
    return keras.Model(inputs, means, name=f"{model.name}_mirrored")


def head(model: keras.Model) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the kernel, float32 (embedding, classes), and the bias, float32 (classes,), of the model's last layer."""
    last = model.get_layer("probabilities")
    if not isinstance(last, layers.Dense):  # an average over looks at a face; the model that was trained is inside
        last = next(layer for layer in model.layers if isinstance(layer, keras.Model)).get_layer("probabilities")
    kernel, bias = last.get_weights()
    return kernel, bias


def classifier(model: keras.Model) -> keras.Model:
    """Returns the part of the model that is trained: crop to probabilities, sharing its weights."""
    return keras.Model(model.input, model.output["probabilities"], name=f"{model.name}_classifier")
