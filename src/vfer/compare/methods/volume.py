"""A 3-D CNN on a clip's stacked crops."""

from functools import cache

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from vfer.compare.methods.base import MethodClips, Numbers, Task, Vectors
from vfer.compare.methods.nets import Inputs, classifier, net

FILTERS = (12, 24, 48)


def stacked(train: MethodClips, task: Task) -> Inputs:  # noqa: ARG001
    """Return as many crops a clip, evenly spread from the first to the last, float32 (n, frames, 48, 48, 1), from -1 to 1.

    They are read once. Those that are trained on are mirrored by chance.
    """

    @cache
    def volumes_of(clips: MethodClips) -> NDArray[np.uint8]:
        return np.stack([spread(crops, task.nets.volume_frames) for crops in clips.crops])

    def inputs(clips: MethodClips, rows: Numbers, rng: np.random.Generator | None) -> Vectors:
        volumes = volumes_of(clips)[rows].astype(np.float32)[..., None] / 127.5 - 1
        if rng is not None:
            turned = rng.random(len(rows)) < 0.5
            volumes[turned] = volumes[turned, :, :, ::-1]
        return volumes

    return inputs


def spread(crops: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return so many frames, evenly spread from the first to the last; of fewer, some are repeated."""
    return np.asarray(crops[np.linspace(0, len(crops) - 1, count).round().astype(int)])


def build(shape: tuple[int, ...], task: Task) -> keras.Model:
    """Three convolutions over time, height and width, each halving all three but the first, which keeps time.

    Source: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", 2015.
    """
    inputs = keras.Input(shape, name="crops")
    x = inputs
    for number, filters in enumerate(FILTERS):
        x = convolved(x, filters, step=1 if number == 0 else 2)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return classifier(inputs, layers.GlobalAveragePooling3D()(x), task)


def convolved(x: keras.KerasTensor, filters: int, step: int) -> keras.KerasTensor:
    """Return a 3x3x3 convolution of (batch, time, height, width, channels), in steps of 2 over the picture and `step` over time.

    Each frame is stacked with those beside it as channels of one picture: the same sums as `Conv3D`, which is many times slower on
    processors.
    """
    time = x.shape[1]
    around = ops.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0], [0, 0]])
    neighbours = ops.concatenate([around[:, at : at + time : step] for at in range(3)], axis=-1)
    convolution = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal")
    flat = convolution(ops.reshape(neighbours, (-1, *neighbours.shape[2:])))
    return ops.reshape(flat, (-1, neighbours.shape[1], *flat.shape[1:]))


METHODS = {"cnn3d": net(stacked, build)}
