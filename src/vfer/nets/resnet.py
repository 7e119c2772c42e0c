"""A residual net of plain 3x3 convolutions for 48x48 faces: more accurate, and slower, than mini-Xception."""

from keras import KerasTensor, layers

MOMENTUM = 0.9  # Keras's 0.99 lags hundreds of steps behind
WIDTHS = (64, 128, 224)
"""Filters at 24, 12 and 6 pixels a side: 2.9 million weights, the most that fit into 6 MB in half precision."""
BLOCKS = 2


def backbone(inputs: KerasTensor) -> KerasTensor:
    """Map grey faces (batch, 48, 48, 1) in [-1, 1] to pooled features (batch, 224).

    Dense convolutions, since separable ones save multiplications that a processor does not wait for; the first one sees all pixels, and
    the second halves them. Source of the blocks: He et al., "Deep Residual Learning for Image Recognition", 2016.
    """
    x = _conv(inputs, WIDTHS[0] // 2, "stem1")
    x = _conv(x, WIDTHS[0], "stem2", strides=2)
    for number, filters in enumerate(WIDTHS, start=1):
        if number > 1:
            x = _conv(x, filters, f"stage{number}_down", strides=2)
        for block in range(1, BLOCKS + 1):
            x = _block(x, filters, f"stage{number}_block{block}")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _block(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    y = _conv(x, filters, f"{name}_conv1")
    y = _conv(y, filters, f"{name}_conv2", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _conv(x: KerasTensor, filters: int, name: str, *, strides: int = 1, relu: bool = True) -> KerasTensor:
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x
