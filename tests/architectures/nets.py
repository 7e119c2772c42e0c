"""Backbones small enough to train in seconds, as a user would write them: some layers are nested, some have no name."""

import keras
from keras import KerasTensor, layers


def tiny(x: KerasTensor) -> KerasTensor:
    """Map faces (batch, 48, 48, 1) to features (batch, 384), which still know where in the face they are."""
    for filters in (12, 24):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{filters}")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"norm{filters}")(x)
        x = layers.ReLU(name=f"relu{filters}")(x)
    x = layers.MaxPooling2D(3, name="pool")(x)
    return layers.Flatten(name="flat")(x)


def wider(x: KerasTensor) -> KerasTensor:
    """A net whose first layer is named as that of `tiny`, and has more filters."""
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv12")(x)
    return layers.GlobalAveragePooling2D(name="flat")(x)


def nested(x: KerasTensor) -> KerasTensor:
    """A layer, and one that is a net, of layers that Keras names."""
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(x)
    inputs = keras.Input(x.shape[1:], name="inner")
    y = inputs
    for filters in (6, 6):  # of the same shapes, so that only the order tells them apart
        y = layers.BatchNormalization(momentum=0.8)(layers.Conv2D(filters, 3, strides=2, padding="same")(y))
    y = layers.Conv2D(6, 1)(y)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(y), name="net")(x)
