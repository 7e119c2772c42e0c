"""Xception, the paper's CNN."""

from typing import Any

import keras
from keras import KerasTensor, applications, layers

MOMENTUM = 0.9  # Keras's 0.99 lags hundreds of steps behind


def backbone(inputs: KerasTensor) -> KerasTensor:
    """Map grey faces (batch, 48, 48, 1) in [-1, 1] to pooled features (batch, 2048).

    Keras's Xception, whose first convolution steps by 1 instead of 2 and takes one channel: the net was made for 299 pixels, and would
    halve 48 five times. So the middle flow sees 6x6 maps instead of 3x3, as it would of a picture enlarged to 96x96, whose
    first convolution would cost as much. Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017.
    """
    # Without input_tensor the net nests as one layer, whose BatchNorm then keeps its mode when the graph is exported.
    net = applications.Xception(include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg")
    small = keras.Input(tuple(inputs.shape[1:]), name="xception_crop")
    return keras.models.clone_model(net, input_tensors=small, clone_function=_adapted)(inputs)


def _adapted(layer: layers.Layer) -> layers.Layer:
    config: dict[str, Any] = layer.get_config()
    if layer.name == "block1_conv1":
        config["strides"] = (1, 1)
    if isinstance(layer, layers.BatchNormalization):
        config["momentum"] = MOMENTUM
    return type(layer).from_config(config)
