"""MobileNetV1 for 48x48 grey faces, which can begin with weights that tell people apart.

Its depthwise convolutions are layers of their own, since TensorFlow trains those faster than `SeparableConv2D`.
"""

from keras import KerasTensor, layers, ops

MOMENTUM = 0.9  # Keras's 0.99 lags hundreds of steps behind
BLOCKS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024)
"""Filters after each depthwise separable block; the thirteenth, a third of all weights, is left out."""
HALVING = (2, 4, 6, 12)
"""Numbers of the blocks that halve the maps."""


def backbone(inputs: KerasTensor) -> KerasTensor:
    """Map grey faces (batch, 48, 48, 1) in [-1, 1] to pooled features (batch, 1024).

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017.
    """
    x = _norm(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem")(_doubled(inputs)), "stem")
    for number, filters in enumerate(BLOCKS, start=1):
        strides = 2 if number in HALVING else 1
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False, name=f"block{number}_depthwise")(x)
        x = _norm(x, f"block{number}_depthwise")
        x = _norm(layers.Conv2D(filters, 1, use_bias=False, name=f"block{number}_pointwise")(x), f"block{number}_pointwise")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _doubled(x: KerasTensor) -> KerasTensor:
    """Double height and width by bilinear interpolation, since the weights come from pictures in which faces are that much larger.

    `UpSampling2D` cannot do so where the size is unknown, as in training that goes from smaller faces to larger ones.
    """
    x = ops.pad(layers.UpSampling2D(2, name="upscale")(x), [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
    for number in (1, 2):
        x = layers.AveragePooling2D(2, strides=1, name=f"upscale_smooth{number}")(x)
    return x


def _norm(x: KerasTensor, name: str) -> KerasTensor:
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x)
