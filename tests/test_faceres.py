"""The converter of faceres-deep: the function of its folded network is kept, and other files are refused."""

import json
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.nets import mobilenet
from vfer.pretrain import faceres

FACES = np.random.default_rng(0).integers(0, 255, (6, 48, 48)).astype(np.uint8)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph model of the names and shapes of faceres-deep, with random weights."""
    rng, widths = np.random.default_rng(1), (32, *mobilenet.BLOCKS)
    weights = {"conv1/convolution/merged_input": rng.normal(0, 0.01, (3, 3, 3, 32)), "conv1_bn/batchnorm_1/sub": rng.normal(1, 0.5, 32)}
    for number, (before, after) in enumerate(pairwise(widths), start=1):
        weights[f"conv_dw_{number}/depthwise_kernel"] = rng.normal(0, 0.4, (3, 3, before, 1))
        weights[f"conv_dw_{number}_bn/batchnorm_1/mul"] = rng.normal(1, 0.1, before)
        weights[f"conv_dw_{number}_bn/batchnorm_1/sub"] = rng.normal(0.5, 0.1, before)
        weights[f"conv_pw_{number}/convolution/merged_input"] = rng.normal(0, 1.5 / before**0.5, (1, 1, before, after))
        weights[f"conv_pw_{number}_bn/batchnorm_1/sub"] = rng.normal(0.5, 0.1, after)
    return write(tmp_path_factory.mktemp("graph"), weights)


def write(folder: Path, weights: dict[str, NDArray[np.float64]]) -> Path:
    entries = [{"name": name, "shape": value.shape, "dtype": "float32"} for name, value in weights.items()]
    (folder / "weights.bin").write_bytes(b"".join(value.astype(np.float32).tobytes() for value in weights.values()))
    (folder / "faceres-deep.json").write_text(json.dumps({"weightsManifest": [{"paths": ["weights.bin"], "weights": entries}]}))
    return folder / "faceres-deep.json"


def folded_output(graph: Path, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the graph model computes, written once more with its batch normalisations folded."""
    weights, ops = faceres.read(graph), keras.ops
    x = ops.image.resize(faces[..., None].astype(np.float32), (96, 96), interpolation="bilinear") - faceres.MEAN
    x = ops.conv(x, weights["conv1/convolution/merged_input"].sum(axis=2, keepdims=True), strides=2, padding="same")
    x = ops.relu6(x + weights["conv1_bn/batchnorm_1/sub"])
    for number in range(1, len(mobilenet.BLOCKS) + 1):
        kernel, scale = weights[f"conv_dw_{number}/depthwise_kernel"], weights[f"conv_dw_{number}_bn/batchnorm_1/mul"]
        x = ops.depthwise_conv(x, kernel, strides=2 if number in mobilenet.HALVING else 1, padding="same")
        x = ops.relu6(x * scale + weights[f"conv_dw_{number}_bn/batchnorm_1/sub"])
        x = ops.conv(x, weights[f"conv_pw_{number}/convolution/merged_input"], padding="same")
        x = ops.relu6(x + weights[f"conv_pw_{number}_bn/batchnorm_1/sub"])
    return np.asarray(ops.mean(x, axis=(1, 2)))


def test_the_function_is_kept_and_every_norm_sees_standard_values(graph: Path) -> None:
    net = faceres.convert(graph, FACES)
    expected = folded_output(graph, FACES)
    assert expected.std() > 0.01
    result = np.asarray(net(FACES[..., None].astype(np.float32), training=False))
    # Padding is grey 127.5 here and 117 there, which the rim of the maps shows.
    assert np.corrcoef(result.ravel(), expected.ravel())[0, 1] > 0.999
    in_training = np.asarray(net(FACES[..., None].astype(np.float32), training=True))
    np.testing.assert_allclose(in_training, result, rtol=0.02, atol=0.02)


def test_another_graph_and_missing_files_are_refused(tmp_path: Path) -> None:
    other = write(tmp_path, {"conv1/convolution/merged_input": np.zeros((3, 3, 3, 32))})
    with pytest.raises(WeightsError, match="does not hold faceres-deep"):
        faceres.convert(other, FACES)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(WeightsError, match=r"is not a readable TensorFlow\.js graph model"):
        faceres.convert(other, FACES)
