"""The CNN: its layers, its augmentation, and what it learns."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from vfer import params
from vfer.cnn.augment import augment
from vfer.cnn.data import StillPart, Stills
from vfer.cnn.head import Head, fused
from vfer.cnn.looks import resampling, views
from vfer.cnn.model import answer_head, answering, build, classifier, head
from vfer.cnn.params import CnnParams
from vfer.cnn.predictions import predict
from vfer.cnn.train import StillBatches, finish, train
from vfer.errors import DataError, ParamsError
from vfer.nets import export
from vfer.nets.session import Session

HOME = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

PARAMS = params.load(HOME / "params.yaml", "cnn", CnnParams).model_copy(
    update={"embedding": 6, "dropout": 0.1, "epochs": 10, "patience": 10, "batch_size": 8, "learning_rate": 0.005, "deterministic": False}
)


def pictures(n: int, seed: int = 0) -> StillPart:
    """Noisy pictures of two classes: a bright bar across, or one down."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(60, 100, (n, 48, 48)).astype(np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        at = int(rng.integers(16, 28))
        (picture if label else picture.T)[at : at + 5] = 220
    return StillPart(pixels, labels, np.eye(2, dtype=np.float32)[labels], [f"{i}" for i in range(n)])


def test_two_classes_that_differ_at_a_glance_are_told_apart_after_a_few_epochs(tmp_path: Path) -> None:
    data = {"train": pictures(48), "validation": pictures(16, 1)}
    figures: list[float] = []
    network, fit = train(data, 2, PARAMS, 3, None, lambda _, logs: figures.append(logs["loss"]))
    model, _, _ = finish(network, PARAMS, Stills(["across", "down"], [], data, {}))
    assert figures[-1] < 0.5 * figures[0]
    assert len(fit.history) == 10
    faces = data["validation"].pixels[..., None].astype(np.float32)
    export.save(model, tmp_path, faces, ["across", "down"])
    session = Session(tmp_path / "model.onnx")
    answer = predict(session, "train", data["train"], session.classes)
    assert (answer.predicted == answer.truth).mean() > 0.9
    outputs = session(faces[:5])
    assert (outputs["embedding"] >= 0).all(), "the padding of the sequences is told from frames by its sign"
    np.testing.assert_allclose(outputs["probabilities"], model(faces[:5], training=False)["probabilities"], atol=1e-4)


def test_a_training_in_bfloat16_makes_a_model_in_float32(tmp_path: Path) -> None:
    data = {"train": pictures(16), "validation": pictures(8, 1)}
    section = PARAMS.model_copy(update={"precision": "mixed_bfloat16", "epochs": 1, "averaging": 0.9, "mixup": 0.2})
    model, _ = train(data, 2, section, 3, None, lambda *_: None)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    export.save(model, tmp_path, data["validation"].pixels[..., None].astype(np.float32), ["across", "down"])


@pytest.mark.parametrize("looks", [1, 2, 6])
def test_the_answer_over_several_looks_is_the_mean_of_their_answers(looks: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build("architectures.nets:nested", 3, 5, 0.3, votes=4)
    faces = np.random.default_rng(0).integers(0, 255, (4, 48, 48, 1)).astype(np.float32)
    export.save(answering(model, head(model, "votes"), looks), tmp_path, faces, list("abcd"))
    outputs = []
    for zoom, mirror in views(looks):
        rows = resampling(48, zoom)
        view = np.einsum("ij,bjkc,lk->bilc", rows, faces, rows)
        outputs.append(model(view[:, :, ::-1] if mirror else view, training=False))
    means = {name: np.exp(np.mean([np.log(view[name]) for view in outputs], axis=0)) for name in ("labels", "votes")}
    for network in (Session(tmp_path / "model.onnx"), keras.models.load_model(tmp_path / "model.keras")):
        answer = network(faces)
        np.testing.assert_allclose(answer["embedding"], np.mean([view["embedding"] for view in outputs], axis=0), atol=1e-4)
        for name, mean in means.items():
            np.testing.assert_allclose(answer[name], mean / mean.sum(axis=1, keepdims=True), atol=1e-4)
        np.testing.assert_allclose(answer["probabilities"], answer["votes"], atol=1e-6)


@pytest.mark.parametrize("looks", [1, 2, 6])
def test_the_head_answers_the_mean_embedding_as_the_cnn_answers_the_face(looks: int) -> None:
    net = build("architectures.nets:nested", 3, 5, 0.3, votes=4)
    model = answering(net, head(net, "labels"), looks)
    answer = model(np.random.default_rng(0).integers(0, 255, (4, 48, 48, 1)).astype(np.float32), training=False)
    np.testing.assert_allclose(answer_head(model)(np.asarray(answer["embedding"])), answer["probabilities"], atol=1e-5)


def test_the_fused_head_is_the_mean_of_both_freed_of_how_common_the_classes_were() -> None:
    rng = np.random.default_rng(0)
    labels, votes = (Head(rng.normal(0, 1, (5, n)).astype(np.float32), rng.normal(0, 1, n).astype(np.float32)) for n in (2, 3))
    priors = np.array([0.8, 0.2]), np.array([0.1, 0.3, 0.6])
    embeddings = rng.uniform(0, 1, (6, 5)).astype(np.float32)
    answer = fused(labels, votes, [2, 0], priors)(embeddings)
    expected = np.sqrt(labels(embeddings) / np.sqrt(priors[0]) * (votes(embeddings) / priors[1])[:, [2, 0]])
    np.testing.assert_allclose(answer, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_zoom_keeps_the_middle_of_a_face_and_spreads_its_rim() -> None:
    ramp = np.arange(48, dtype=np.float32)
    np.testing.assert_array_equal(resampling(48, 1.0), np.eye(48))
    closer, farther = resampling(48, 2.0) @ ramp, resampling(48, 0.5) @ ramp
    assert np.diff(closer)[1:-1] == pytest.approx(0.5)
    assert (farther[0], farther[-1]) == (0, 47)
    assert closer.mean() == farther.mean() == pytest.approx(23.5)


def test_a_second_head_learns_the_votes_and_stills_without_votes_teach_it_nothing() -> None:
    data = {usage: with_votes(pictures(n, seed)) for usage, n, seed in (("train", 48, 0), ("validation", 16, 1))}
    section = PARAMS.model_copy(update={"votes": 1.0, "epochs": 30, "patience": 30})
    network, fit = train(data, 2, section, 3, None, lambda *_: None)
    assert fit.history[-1]["accuracy"] > 0.9, "the label head's"
    faces, truth = data["validation"].pixels[..., None].astype(np.float32), data["validation"].labels
    stills = Stills(["across", "down"], ["down", "other", "across"], data, {})
    for name, classes in (("votes", stills.votes), ("both", stills.classes)):
        model, names, _ = finish(network, section.model_copy(update={"head": name}), stills)
        assert names == classes
        answers = model(faces, training=False)
        assert (np.asarray(answers["votes"]).argmax(axis=1) == 2 - 2 * truth).mean() > 0.9
        numbers = [classes.index(stills.classes[label]) for label in truth]
        assert (np.asarray(answers["probabilities"]).argmax(axis=1) == numbers).mean() > 0.9


def test_an_expression_without_votes_is_refused() -> None:
    stills = Stills(["across", "down"], ["across"], {}, {}, Path("data/stills.parquet"))
    with pytest.raises(DataError, match=r"stills\.parquet: no annotator voted for down; set cnn\.head: label"):
        stills.columns()


def with_votes(part: StillPart) -> StillPart:
    """Add votes for another numbering of the classes, and take every third still's away."""
    votes = np.eye(3, dtype=np.float32)[2 - 2 * part.labels]
    votes[::3] = 0
    return replace(part, votes=votes)


def test_faces_grow_with_the_epochs_and_each_is_mirrored_in_every_other_one() -> None:
    part = pictures(8)
    section = PARAMS.model_copy(update={"augmentation": 1e-9, "erasing": 0, "mixup": 0})
    batches = StillBatches(part, 2, section, 0, epochs=10, progressive=True)
    shapes, faces = [], []
    for epoch in range(10):
        batches.start(epoch)
        shapes.append(batches[0][0].shape)
        faces.append(batches[0][0][np.argsort(batches._order)])
    assert [shape[1] for shape in shapes] == [32] * 3 + [40] * 3 + [48] * 4
    assert np.abs(faces[9] - faces[8]).mean() > np.abs(faces[9] - faces[8][:, :, ::-1]).mean() < 1
    assert StillBatches(part, 2, section, 0, progressive=True)[0][0].shape == (8, 48, 48, 1)


def test_a_progressive_training_makes_a_model_of_whole_faces() -> None:
    data = {"train": pictures(16), "validation": pictures(8, 1)}
    section = PARAMS.model_copy(update={"progressive": True, "epochs": 4})
    model, _ = train(data, 2, section, 3, None, lambda *_: None)
    assert model.input_shape == (None, 48, 48, 1)


@pytest.mark.parametrize("architecture", ["mini_xception", "xception", "resnet", "mobilenet"])
def test_an_architecture_has_named_layers_and_is_cut_at_its_embedding(architecture: str) -> None:
    model = build(architecture, 7, 12, 0.3)
    assert model.input_shape == (None, 48, 48, 1)
    assert {name: value.shape for name, value in model.output.items()} == {"embedding": (None, 12), "labels": (None, 7)}
    assert model.get_layer("embedding").output.shape == (None, 12)
    assert not [layer.name for layer in model.layers if layer.name[-2] == "_" and layer.name[-1].isdigit()], "Keras numbered a layer"
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    network = classifier(model)
    assert network.output_shape == (None, 7)
    assert network.get_layer("labels").kernel is model.get_layer("labels").kernel


@pytest.mark.parametrize(("architecture", "least", "most"), [("mini_xception", 40_000, 90_000), ("resnet", 2_500_000, 3_000_000)])
def test_an_architecture_is_as_small_as_it_is_meant_to_be(architecture: str, least: int, most: int) -> None:
    assert least < build(architecture, 7, 128, 0.3).count_params() < most


def test_xception_is_keras_s_but_for_a_first_convolution_that_sees_every_pixel_of_one_channel() -> None:
    net, theirs = build("xception", 7, 12, 0.3).get_layer("xception"), keras.applications.Xception(include_top=False, weights=None)
    first = net.get_layer("block1_conv1")
    assert (first.strides, first.kernel.shape) == ((1, 1), (3, 3, 1, 32))
    assert net.get_layer("block13_sepconv2").output.shape[1:3] == (6, 6), "the middle flow sees 6x6 maps"
    rest = [
        layer
        for layer in theirs.layers
        if layer.weights and layer.name != "block1_conv1" and not layer.name.startswith(("conv2d", "batch"))
    ]
    assert len(rest) > 70
    for layer in rest:
        assert [weight.shape for weight in net.get_layer(layer.name).weights] == [weight.shape for weight in layer.weights]


def test_an_architecture_of_one_s_own_is_found_by_its_dotted_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from keras import layers\ndef tiny(inputs):\n    return layers.GlobalAveragePooling2D(name='pool')(inputs)\nwidth = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = build("mine:tiny", 2, 4, 0.1)
    assert model.name == "tiny"
    assert model.output["embedding"].shape == (None, 4)
    for wrong in ("mine:tinier", "nowhere:tiny", "resnets"):
        with pytest.raises(ParamsError, match=r"cnn\.architecture: .*; expected .*package\.module:function"):
            build(wrong, 2, 4, 0.1)


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
    outputs = Session(tmp_path / "model.onnx")(faces)
    np.testing.assert_allclose(outputs["embedding"], model(faces, training=False)["embedding"], atol=1e-4)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        build("mini_xception", 1, 12, 0.3)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_keeps_shape_and_type_and_depends_on_the_generator_alone(strength: float) -> None:
    pixels = pictures(12).pixels
    before = pixels.copy()
    result = augment(pixels, np.random.default_rng(4), strength)
    assert (result.shape, result.dtype) == (pixels.shape, np.uint8)
    np.testing.assert_array_equal(pixels, before)
    assert not np.shares_memory(result, pixels)
    np.testing.assert_array_equal(result, augment(pixels, np.random.default_rng(4), strength))
    assert (result == augment(pixels, np.random.default_rng(5), strength)).all() == (strength == 0)


def test_strength_0_is_identity_and_more_strength_changes_more() -> None:
    pixels = pictures(60).pixels
    np.testing.assert_array_equal(augment(pixels, np.random.default_rng(0), 0), pixels)
    # A symmetric picture hides the mirroring, which comes at any strength.
    same = np.maximum(pixels, pixels[:, :, ::-1])
    differences = [np.abs(augment(same, np.random.default_rng(0), s).astype(int) - same).mean() for s in (0.1, 0.5, 1.0)]
    assert 0 < differences[0] < differences[1] < differences[2] < 100


@pytest.mark.parametrize("erasing", [0.0, 0.3, 1.0])
def test_as_many_pictures_as_asked_for_get_a_patch_of_their_mean(erasing: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (300, 48, 48)).astype(np.uint8)
    result = augment(pixels, np.random.default_rng(1), 0, erasing)
    mask = (result != pixels).any(axis=(1, 2))
    assert mask.mean() == pytest.approx(erasing, abs=0.08)
    for picture, before in zip(result[mask], pixels[mask], strict=True):
        rows, columns = np.nonzero(picture != before)
        patch = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (patch == int(before.mean())).all()
        assert max(patch.shape) <= 0.4 * 48


def test_half_of_the_pictures_are_mirrored() -> None:
    ramp = np.tile(np.arange(48, dtype=np.uint8) * 5, (400, 48, 1))
    mask = augment(ramp, np.random.default_rng(0), 0.01)[:, 24, 0] > 100
    assert 150 < mask.sum() < 250


def test_dark_faces_stay_darker_than_bright_ones() -> None:
    """A sum of light and contrast below zero is black; `cv2.convertScaleAbs` would take its absolute value."""
    halves = np.full((200, 48, 48), 4, np.uint8)
    halves[:, 24:] = 60
    result = augment(halves, np.random.default_rng(0), 1.0).astype(float)
    assert (result[:, 40:, 8:40].mean(axis=(1, 2)) >= result[:, :8, 8:40].mean(axis=(1, 2))).all()
    assert (result[:, :8, 8:40].mean(axis=(1, 2)) < 4).any()
