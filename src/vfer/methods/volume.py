"""A 3-D CNN on a clip's stacked crops."""

import keras
import numpy as np
from keras import layers

from vfer.methods.base import Clips, Numbers, Task, Vectors
from vfer.methods.nets import Inputs, net

FILTERS = (16, 32, 64)


def stacked(train: Clips, task: Task) -> Inputs:  # noqa: ARG001
    """Returns as many crops a clip, evenly spread from the first to the last, float32 (n, frames, 48, 48, 1), from -1 to 1.

    Those that are trained on are mirrored by chance.
    """

    def inputs(clips: Clips, rows: Numbers, rng: np.random.Generator | None) -> Vectors:
        taken = [spread(clips.crops[row], task.nets.volume_frames) for row in rows]
        volumes = np.stack(taken).astype(np.float32)[..., None] / 127.5 - 1
        if rng is not None:
            turned = rng.random(len(rows)) < 0.5
            volumes[turned] = volumes[turned, :, :, ::-1]
        return volumes

    return inputs


def spread(crops: "np.typing.NDArray[np.uint8]", count: int) -> "np.typing.NDArray[np.uint8]":
    """Returns so many frames, evenly spread from the first to the last; of fewer, some are repeated."""
    return np.asarray(crops[np.linspace(0, len(crops) - 1, count).round().astype(int)])


def build(shape: tuple[int, ...], task: Task) -> keras.Model:
    """Three convolutions over time, height and width, each halving all three but the first, which keeps time.

    Source: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", 2015.
    """
    inputs = keras.Input(shape, name="crops")
    x = inputs
    for number, filters in enumerate(FILTERS):
        steps = (1, 2, 2) if number == 0 else (2, 2, 2)
        x = layers.Conv3D(filters, 3, strides=steps, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(task.nets.dropout)(layers.GlobalAveragePooling3D()(x))
    return keras.Model(inputs, layers.Dense(task.classes, activation="softmax", name="probabilities")(x))


METHODS = {"cnn3d": net(stacked, build)}
