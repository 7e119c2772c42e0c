"""The weights that the backbone begins with: which are taken, which are refused, and what is frozen."""

from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from vfer.cnn import model as cnn_model
from vfer.cnn import transfer
from vfer.cnn.data import StillPart
from vfer.cnn.model import answering, build
from vfer.cnn.params import CnnParams
from vfer.cnn.train import train
from vfer.errors import WeightsError
from vfer.nets import export, training
from vfer.pretrain.model import backbone

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of TensorFlow

HOME = Path(__file__).resolve().parents[1]
HEAD = ("embedding_dense", "labels")
Weights = list[NDArray[np.float32]]


def faces(n: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 255, (n, 48, 48, 1)).astype(np.float32)


def stir(model: keras.Model, seed: int) -> keras.Model:
    """A model none of whose weights is as it began, the norms' statistics included."""
    rng = np.random.default_rng(seed)
    model.set_weights([value + rng.uniform(0.1, 0.5, value.shape) for value in model.get_weights()])
    return model


def cnn(architecture: str, seed: int = 0) -> keras.Model:
    return stir(build(architecture, 3, 5, 0.2), seed)


def features(model: keras.Model) -> NDArray[np.float32]:
    """What the backbone in a CNN, or alone, makes of some faces."""
    layer = model.get_layer("embedding_dense").input if "embedding_dense" in {layer.name for layer in model.layers} else model.output
    return np.asarray(keras.Model(model.input, layer)(faces(), training=False))


def head(model: keras.Model) -> Weights:
    return [value for name in HEAD for value in model.get_layer(name).get_weights()]


@pytest.mark.parametrize("architecture", ["architectures.nets:tiny", "architectures.nets:nested", "mini_xception"])
@pytest.mark.parametrize("kind", ["backbone", "cnn", "mirrored cnn"])
def test_any_file_of_vfer_s_own_gives_its_backbone_and_nothing_of_its_head(architecture: str, kind: str, tmp_path: Path) -> None:
    giver = stir(backbone(architecture), 1) if kind == "backbone" else cnn(architecture, 1)
    expected = features(giver)
    export.save_keras(answering(giver, cnn_model.head(giver, "labels"), 2) if kind == "mirrored cnn" else giver, tmp_path / "model.keras")
    model = cnn(architecture, 2)
    own, before = head(model), features(model)
    assert not np.allclose(before, expected, rtol=1e-2), "the two are alike from the start: this tells nothing"
    result = transfer.load(model, tmp_path / "model.keras")
    np.testing.assert_allclose(features(model), expected, rtol=1e-4, atol=1e-4)
    for value, other in zip(head(model), own, strict=True):
        np.testing.assert_array_equal(value, other)
    assert {layer.name for layer in result} == {layer.name for layer in model.layers if layer.weights} - set(HEAD)


@pytest.mark.slow
def test_xception_takes_its_own_weights_whatever_else_the_process_has_built(tmp_path: Path) -> None:
    giver = stir(backbone("xception"), 1)
    export.save_keras(giver, tmp_path / "model.keras")
    model = build("xception", 3, 5, 0.2)
    assert [layer.name for layer in transfer.load(model, tmp_path / "model.keras")] == ["xception"]
    for value, other in zip(model.get_layer("xception").get_weights(), giver.get_layer("xception").get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "architectures.nets:wider",
            "architectures.nets:tiny",
            r"layer conv12 of wider has the shapes \[\(3, 3, 1, 16\)\], that of tiny \[\(3, 3, 1, 12\)\]",
        ),
        ("architectures.nets:tiny", "mini_xception", "tiny has no layer stem_conv1, which mini_xception has"),
        ("mini_xception", "architectures.nets:nested", "mini_xception has no layer stem, which nested has"),
    ],
)
def test_another_architecture_is_refused_and_changes_nothing(source: str, target: str, message: str, tmp_path: Path) -> None:
    export.save_keras(backbone(source), tmp_path / "other.keras")
    model = cnn(target)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=rf"other\.keras: {message}; .* or set cnn\.architecture"):
        transfer.load(model, tmp_path / "other.keras")
    for value, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


def test_the_last_layer_that_does_not_fit_leaves_the_first_as_they_were(tmp_path: Path) -> None:
    inputs = keras.Input((48, 48, 1))
    x = keras.layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False, name="conv12")(inputs)
    export.save_keras(keras.Model(inputs, x, name="half"), tmp_path / "half.keras")
    model = cnn("architectures.nets:tiny")
    before = model.get_layer("conv12").get_weights()
    with pytest.raises(WeightsError, match="half has no layer norm12"):
        transfer.load(model, tmp_path / "half.keras")
    np.testing.assert_array_equal(model.get_layer("conv12").get_weights(), before)


@pytest.mark.parametrize("content", [b"no model", b""])
def test_what_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.keras: is not a valid Keras model \(.*\); name a file") as excinfo:
        transfer.load(cnn("architectures.nets:tiny"), path)
    assert "\n" not in str(excinfo.value)


def test_weights_are_found_where_pretrain_left_some(tmp_path: Path) -> None:
    assert transfer.weights_in(tmp_path / "nowhere") is None
    assert transfer.weights_in(tmp_path) is None
    (tmp_path / "backbone.keras").touch()
    assert transfer.weights_in(tmp_path) == tmp_path / "backbone.keras"


def test_the_frozen_phase_trains_the_head_alone_and_the_next_one_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    giver = stir(backbone("architectures.nets:nested"), 1)
    export.save_keras(giver, tmp_path / "model.keras")
    pixels = faces(24)[..., 0].astype(np.uint8)
    labels = np.arange(24) % 3
    part = StillPart(pixels, labels, np.eye(3, dtype=np.float32)[labels])
    section = yaml.safe_load((HOME / "params.yaml").read_text())["cnn"]
    few = {"epochs": 1, "frozen_epochs": 2, "batch_size": 8, "embedding": 5, "averaging": 0, "deterministic": False}
    params = CnnParams(**section | few | {"architecture": "architectures.nets:nested", "looks": 1})
    after: list[keras.Model] = []
    fit = training.fit

    def spy(model: keras.Model, *args: object, **kwargs: object) -> training.Fit:
        before = head(model)
        fit_result = fit(model, *args, **kwargs)  # type: ignore[arg-type]
        assert any((old != new).any() for old, new in zip(before, head(model), strict=True)), "the head was not trained"
        after.append(features(model))
        return fit_result

    monkeypatch.setattr(training, "fit", spy)
    epochs: list[int] = []
    _, result = train(
        {"train": part, "validation": part}, 3, params, 1, None, lambda epoch, _: epochs.append(epoch), tmp_path / "model.keras"
    )
    assert epochs == list(range(len(result.history))) == [0, 1, 2]
    np.testing.assert_allclose(after[0], features(giver), rtol=1e-5, atol=1e-5)
    assert not np.allclose(after[1], features(giver), rtol=1e-3)
