"""mini-Xception, a small net of depthwise separable convolutions for 48x48 faces."""

from keras import KerasTensor, layers

MOMENTUM = 0.9  # Keras's 0.99 lags hundreds of steps behind, more than an epoch of a small dataset has


def backbone(inputs: KerasTensor) -> KerasTensor:
    """Map grey faces (batch, 48, 48, 1) in [-1, 1] to pooled features (batch, 128).

    Source: Arriaga, Valdenegro-Toro and Ploeger, "Real-time Convolutional Neural Networks for Emotion and Gender
    Classification", 2017; the stem is padded, so that no border is lost.
    """
    x = inputs
    for step in (1, 2):
        x = layers.Conv2D(8 * step, 3, padding="same", use_bias=False, name=f"stem_conv{step}")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"stem_norm{step}")(x)
        x = layers.ReLU(name=f"stem_relu{step}")(x)
    for index, filters in enumerate((16, 32, 64, 128), start=1):
        x = _block(x, filters, f"block{index}")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _block(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    shortcut = layers.Conv2D(filters, 1, strides=2, use_bias=False, name=f"{name}_shortcut")(x)
    shortcut = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_shortcut_norm")(shortcut)
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv1")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm1")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])
