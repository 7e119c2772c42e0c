"""Two streams: what a face looks like, and how it moves, by optical flow of adjacent crops or by the codec's motion vectors.

Source: Simonyan and Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", 2014; with motion vectors Zhang et
al., "Real-Time Action Recognition with Enhanced Motion Vector CNNs", 2016.
"""

from collections.abc import Callable
from functools import cache

import cv2
import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from vfer.compare.methods import frames
from vfer.compare.methods.base import FittedMethod, Method, MethodClips, Numbers, Task, Vectors
from vfer.compare.methods.nets import Inputs, Prepare, classifier, net
from vfer.nets.calibration import softmax

STACK = 8
"""Fields of motion that the network sees of a clip, evenly spread over it."""
SCALE = 5.0  # pixels of a 48 pixel crop that a field is divided by; more is cut off
WEIGHTS = np.linspace(0, 1, 11)
FILTERS = (24, 48, 96)
Field = Callable[[MethodClips, int], Vectors]
"""Tells the motion of a clip by its number, float32 (fields, 48, 48, 2), in pixels."""


def flow(clips: MethodClips, number: int) -> Vectors:
    """Return the optical flow between crops that follow each other, of as many pairs as are stacked.

    Source: Farneback, "Two-Frame Motion Estimation Based on Polynomial Expansion", 2003.
    """
    crops = clips.crops[number]
    if len(crops) < 2:
        return np.zeros((1, *crops.shape[1:], 2), np.float32)
    pairs = np.linspace(0, len(crops) - 2, STACK).round().astype(int)
    fields = {i: _flow(crops[i], crops[i + 1]) for i in set(pairs.tolist())}
    return np.stack([fields[i] for i in pairs.tolist()])


def _flow(crop: NDArray[np.uint8], after: NDArray[np.uint8]) -> Vectors:
    start = np.zeros((*crop.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(crop, after, start, 0.5, 2, 9, 3, 5, 1.1, 0), np.float32)


def codec(clips: MethodClips, number: int) -> Vectors:
    """Return the codec's motion; the first frame, which has none before it, is left out where there are more."""
    motion = clips.motion[number]
    return motion[1:] if len(motion) > 1 else motion


def stacked(field: Field, *, looks: bool = False) -> Prepare:
    """Return what prepares the fields of motion, float32 (n, 48, 48, 2 `STACK`), behind the middle crop where `looks`.

    They are computed once a clip. Those that are trained on are mirrored by chance, and the motion to the right with them.
    """

    def prepare(train: MethodClips, task: Task) -> Inputs:  # noqa: ARG001
        @cache
        def fields(clips: MethodClips) -> NDArray[np.float16]:
            stacks = np.stack([_stack(field(clips, number)) for number in range(len(clips))])
            if not looks:
                return stacks
            middle = np.stack([crops[len(crops) // 2] for crops in clips.crops])[..., None]
            return np.concatenate([(middle.astype(np.float32) / 127.5 - 1).astype(np.float16), stacks], axis=-1)

        def inputs(clips: MethodClips, rows: Numbers, rng: np.random.Generator | None) -> Vectors:
            batch = fields(clips)[rows].astype(np.float32)
            if rng is not None:
                turned = rng.random(len(rows)) < 0.5
                batch[turned] = batch[turned, :, ::-1]
                right = slice(1 if looks else 0, None, 2)
                batch[turned, :, :, right] *= -1
            return batch

        return inputs

    return prepare


def _stack(field: Vectors) -> NDArray[np.float16]:
    selection = field[np.linspace(0, len(field) - 1, STACK).round().astype(int)]
    cut = np.clip(selection / SCALE, -1, 1)
    return np.asarray(cut.transpose(1, 2, 0, 3).reshape(*cut.shape[1:3], -1), np.float16)


def build(shape: tuple[int, ...], task: Task) -> keras.Model:
    """A small CNN on the stacked fields."""
    inputs = keras.Input(shape, name="motion")
    x = layers.GlobalAveragePooling2D()(_convolved(inputs, FILTERS))
    return classifier(inputs, x, task)


def fused(shape: tuple[int, ...], task: Task) -> keras.Model:
    """Two small CNNs, on the middle crop and on the fields, whose maps are joined by a convolution.

    Source: Feichtenhofer, Pinz and Zisserman, "Convolutional Two-Stream Network Fusion for Video Action Recognition", 2016.
    """
    inputs = keras.Input(shape, name="crop_and_motion")
    both = [_convolved(part, FILTERS[:2]) for part in (inputs[..., :1], inputs[..., 1:])]
    x = layers.Conv2D(FILTERS[2], 1, activation="relu", name="fusion")(layers.Concatenate()(both))
    x = layers.GlobalAveragePooling2D()(_convolved(x, FILTERS[2:]))
    return classifier(inputs, x, task)


def _convolved(x: keras.KerasTensor, filters: tuple[int, ...]) -> keras.KerasTensor:
    for width in filters:
        x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return x


def motion(field: Field) -> Method:
    """Return the temporal stream alone."""
    return net(stacked(field), build)


def convolutional(field: Field) -> Method:
    """Return both streams in one network, which is trained as a whole, without the CNN's embeddings."""
    return net(stacked(field, looks=True), fused)


def weighted(field: Field) -> Method:
    """Return the sum of both streams' probabilities; the weight that does best on validation, the middle one of equals, is taken."""

    def fuse(one: Vectors, other: Vectors, labels: Numbers, task: Task) -> tuple[Callable[[Vectors, Vectors], Vectors], int]:  # noqa: ARG001
        right = np.array([((w * one + (1 - w) * other).argmax(axis=1) == labels).mean() for w in WEIGHTS])
        best = np.flatnonzero(right == right.max())
        weight = np.float32(WEIGHTS[best[len(best) // 2]])
        return lambda looks, moves: weight * looks + (1 - weight) * moves, 1

    return _late(field, fuse)


def learned_fusion(field: Field) -> Method:
    """Return a linear combination of both streams' log-probabilities, a weight for each pair of classes, learned on validation."""

    def fuse(one: Vectors, other: Vectors, labels: Numbers, task: Task) -> tuple[Callable[[Vectors, Vectors], Vectors], int]:
        from sklearn.linear_model import LogisticRegression

        if len(set(labels.tolist())) < 2:
            return lambda looks, moves: (looks + moves) / 2, 0  # nothing to learn weights from
        model = LogisticRegression(C=0.1, max_iter=1000, random_state=task.seed).fit(_logs(one, other), labels)
        weights = np.zeros((task.classes, 2 * task.classes))
        offsets = np.full(task.classes, -np.inf)
        binary = len(model.classes_) == 2
        weights[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2 if binary else model.coef_
        offsets[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2 if binary else model.intercept_
        return lambda looks, moves: softmax(_logs(looks, moves) @ weights.T + offsets), model.coef_.size + model.intercept_.size

    return _late(field, fuse)


def _logs(one: Vectors, other: Vectors) -> Vectors:
    return np.log(np.concatenate([one, other], axis=1) + np.float32(1e-3))


def _late(field: Field, fuse: Callable[[Vectors, Vectors, Numbers, Task], tuple[Callable[[Vectors, Vectors], Vectors], int]]) -> Method:
    """Return the method that fuses the answers of the frames, averaged, and of the temporal stream, by what they answer on validation."""

    def method(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
        looks, moves = frames.averaged(train, validation, task), motion(field)(train, validation, task)
        together, size = fuse(looks.answer(validation), moves.answer(validation), validation.labels, task)
        return FittedMethod(looks.parameters + moves.parameters + size, lambda clips: together(looks.answer(clips), moves.answer(clips)))

    return method


METHODS = {
    "flow": motion(flow),
    "two_stream": weighted(flow),
    "two_stream_learned": learned_fusion(flow),
    "two_stream_fusion": convolutional(flow),
    "two_stream_codec": weighted(codec),
}
