"""The CNN: its layers, its augmentation, and what it learns."""

from pathlib import Path

import keras
import numpy as np
import pytest

from vfer import export
from vfer.cnn.augment import augment
from vfer.cnn.data import Part
from vfer.cnn.model import build, classifier
from vfer.cnn.params import CnnParams
from vfer.cnn.train import test as scored
from vfer.cnn.train import train
from vfer.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

PARAMS = CnnParams(
    architecture="mini_xception",
    embedding=6,
    dropout=0.1,
    epochs=10,
    patience=10,
    batch_size=8,
    learning_rate=0.005,
    weight_decay=0,
    label_smoothing=0,
    augmentation=0.2,
    class_balance=0.5,
    precision="float32",
    deterministic=False,
)


def pictures(n: int, seed: int = 0) -> Part:
    """Noisy pictures of two classes: a bright bar across, or one down."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(60, 100, (n, 48, 48)).astype(np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        at = int(rng.integers(16, 28))
        (picture if label else picture.T)[at : at + 5] = 220
    return Part(pixels, labels)


def test_two_classes_that_differ_at_a_glance_are_told_apart_after_a_few_epochs(tmp_path: Path) -> None:
    data = {"train": pictures(48), "validation": pictures(16, 1)}
    figures: list[float] = []
    model, fit = train(data, 2, PARAMS, 3, None, lambda _, logs: figures.append(logs["loss"]))
    assert figures[-1] < 0.5 * figures[0]
    assert len(fit.history) == 10
    faces = data["validation"].pixels[..., None].astype(np.float32)
    export.save(model, tmp_path, faces, ["across", "down"])
    session = Session(tmp_path / "model.onnx")
    assert scored(session, data["train"], 2).uar > 0.9
    found = session(faces[:5])
    assert (found["embedding"] >= 0).all(), "the padding of the sequences is told from frames by its sign"
    np.testing.assert_allclose(found["probabilities"], model(faces[:5], training=False)["probabilities"], atol=1e-4)


@pytest.mark.parametrize("architecture", ["mini_xception", "xception"])
def test_an_architecture_has_named_layers_and_is_cut_at_its_embedding(architecture: str) -> None:
    model = build(architecture, 7, 12, 0.3)
    assert model.input_shape == (None, 48, 48, 1)
    assert {name: value.shape for name, value in model.output.items()} == {"embedding": (None, 12), "probabilities": (None, 7)}
    assert model.get_layer("embedding").output.shape == (None, 12)
    assert not [layer.name for layer in model.layers if layer.name[-2] == "_" and layer.name[-1].isdigit()], "Keras numbered a layer"
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    head = classifier(model)
    assert head.output_shape == (None, 7)
    assert head.get_layer("probabilities").kernel is model.get_layer("probabilities").kernel


def test_mini_xception_is_as_small_as_it_is_meant_to_be() -> None:
    assert 40_000 < build("mini_xception", 7, 128, 0.3).count_params() < 90_000


@pytest.mark.slow
def test_xception_is_exported_in_inference_mode(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build("xception", 7, 12, 0.3)
    rng = np.random.default_rng(0)
    for layer in model.get_layer("xception").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean + rng.normal(0, 0.1, mean.shape), variance * rng.uniform(0.5, 1.5, variance.shape)])
    faces = rng.integers(0, 255, (3, 48, 48, 1)).astype(np.float32)
    export.save_onnx(model, tmp_path / "model.onnx", faces, list("abcdefg"))
    found = Session(tmp_path / "model.onnx")(faces)
    np.testing.assert_allclose(found["embedding"], model(faces, training=False)["embedding"], atol=1e-4)


@pytest.mark.parametrize(("architecture", "classes"), [("resnet", 7), ("mini_xception", 1)])
def test_what_cannot_be_built_is_refused(architecture: str, classes: int) -> None:
    with pytest.raises(ValueError, match=r"is unknown|at least 2 classes"):
        build(architecture, classes, 12, 0.3)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_keeps_shape_and_type_and_depends_on_the_generator_alone(strength: float) -> None:
    pixels = pictures(12).pixels
    before = pixels.copy()
    found = augment(pixels, np.random.default_rng(4), strength)
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(pixels, before)
    assert not np.shares_memory(found, pixels)
    np.testing.assert_array_equal(found, augment(pixels, np.random.default_rng(4), strength))
    assert (found == augment(pixels, np.random.default_rng(5), strength)).all() == (strength == 0)


def test_strength_0_is_identity_and_more_strength_changes_more() -> None:
    pixels = pictures(60).pixels
    np.testing.assert_array_equal(augment(pixels, np.random.default_rng(0), 0), pixels)
    # A symmetric picture hides the mirroring, which comes at any strength.
    same = np.maximum(pixels, pixels[:, :, ::-1])
    changed = [np.abs(augment(same, np.random.default_rng(0), s).astype(int) - same).mean() for s in (0.1, 0.5, 1.0)]
    assert 0 < changed[0] < changed[1] < changed[2] < 100


def test_half_of_the_pictures_are_mirrored() -> None:
    ramp = np.tile(np.arange(48, dtype=np.uint8) * 5, (400, 48, 1))
    mirrored = augment(ramp, np.random.default_rng(0), 0.01)[:, 24, 0] > 100
    assert 150 < mirrored.sum() < 250
