"""What every network must keep, of faces or of sequences: the same answers in any batch, after saving, and in ONNX Runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.cnn import model as cnn_model
from vfer.errors import ParamsError
from vfer.features.cache import Embeddings
from vfer.lstm.params import Architecture
from vfer.lstm.sequences import pad
from vfer.nets import export
from vfer.nets.sequences import ARCHITECTURES, build, scaling
from vfer.nets.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning"),  # of a net in a net
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

WIDTH, CLASSES = 6, ["a", "b", "c"]
Batch = dict[str, NDArray[np.float32]]
RNG = np.random.default_rng(0)
CLIPS = [
    Embeddings(RNG.normal(1, 2, (n, WIDTH)).astype(np.float32), np.cumsum(RNG.uniform(0.05, 0.3, n)))
    for n in (5, 3, 1, 9)  # 1 and 3 are shorter than what convolutions reach
]


def sequence_model(architecture: str) -> keras.Model:
    return build(architecture, WIDTH, 3, 8, 0.3, scaling(CLIPS[0].values, 0.1), input_dropout=0.2, noise=0.1)


def face_model(architecture: str) -> keras.Model:
    return cnn_model.build(architecture, 3, 5, 0.3)


def shaken(model: keras.Model) -> keras.Model:
    """Move all weights, also those of the norms, off the values that they begin with, at which mistakes could hide."""
    rng = np.random.default_rng(2)
    for variable in model.variables:
        if "seed" not in variable.name:
            shift = rng.uniform(-0.05, 0.05, variable.shape) if any(word in variable.name for word in ("bias", "beta", "mean")) else 0
            variable.assign(np.asarray(variable) * rng.uniform(0.8, 1.25, variable.shape) + shift)
    return model


MODELS: dict[str, Callable[[], keras.Model]] = {
    **{name: lambda name=name: sequence_model(name) for name in ARCHITECTURES},
    **{name: lambda name=name: face_model(name) for name in cnn_model.BACKBONES},
}
LIGHTS = ((255, 1), (90, 0), (255, 0), (40, 1))
FACES = np.stack([np.linspace(0, level, 48)[:, None] * np.linspace(1, slope, 48) for level, slope in LIGHTS])


def batch_of(name: str, rows: list[int], length: int = 9) -> Batch:
    if name in ARCHITECTURES:
        return pad([CLIPS[row] for row in rows], length)
    return {"crop": FACES[rows, ..., None].astype(np.float32)}


def run(model: keras.Model, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
    answers = model(batch if len(batch) > 1 else batch["crop"], training=False)
    return {key: np.asarray(value) for key, value in answers.items()}


def check(answer: Callable[[Batch], Mapping[str, NDArray[np.float32]]], name: str, expected: Mapping[str, NDArray[np.float32]]) -> None:
    """Compare answers with those that all four examples got together: in another order, one by one, and padded otherwise."""
    order = [3, 0, 2, 1]
    for output, values in expected.items():
        np.testing.assert_allclose(answer(batch_of(name, order))[output], values[order], atol=1e-5, err_msg="in another order")
        alone = np.concatenate([answer(batch_of(name, [row], 9 if row == 3 else 5))[output] for row in range(4)])
        np.testing.assert_allclose(alone, values, atol=1e-5, err_msg="one by one, padded less")
        wide = answer(batch_of(name, [0, 1, 2, 3], 40))[output]
        np.testing.assert_allclose(wide, values, atol=1e-5, err_msg="padded more")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name == "xception" else ()) for name in MODELS])
def test_a_network_answers_alike_in_any_batch_and_after_loading(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = shaken(MODELS[name]())
    everything = batch_of(name, [0, 1, 2, 3])
    expected = run(model, everything)
    assert {value.dtype for value in expected.values()} == {np.dtype(np.float32)}
    probabilities = expected["probabilities" if name in ARCHITECTURES else "labels"]
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    if name in ARCHITECTURES:  # deep nets of faces that are untrained answer nearly alike
        assert np.ptp(probabilities, axis=0).max() > 1e-3, "all inputs get one answer"
    check(lambda batch: run(model, batch), name, expected)
    export.save_keras(model, tmp_path / "model.keras")
    outputs = run(keras.models.load_model(tmp_path / "model.keras", compile=False), everything)
    for output, values in expected.items():
        np.testing.assert_allclose(outputs[output], values, atol=1e-6)


EXPORTED = ("lstm", "transformer", "temporal_convolutions", "resnet")  # of each kind one, since an export takes seconds


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in EXPORTED else pytest.mark.slow) for name in MODELS])
def test_a_network_answers_alike_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = shaken(MODELS[name]())
    everything = batch_of(name, [0, 1, 2, 3])
    export.save_onnx(model, tmp_path / "model.onnx", everything if name in ARCHITECTURES else everything["crop"], CLASSES)
    session = Session(tmp_path / "model.onnx")
    assert (session.classes, set(session.inputs)) == (CLASSES, set(everything))
    check(session, name, run(model, everything))


def test_the_params_name_the_architectures_that_there_are() -> None:
    assert list(Architecture.__args__) == list(ARCHITECTURES)
    with pytest.raises(ParamsError, match=r"lstm\.architecture: 'rnn' is unknown; expected one of lstm, "):
        sequence_model("rnn")
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        build("lstm", WIDTH, 1, 8, 0.3, scaling(CLIPS[0].values, 0.1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_time_between_frames_reaches_the_answer(architecture: str) -> None:
    keras.utils.set_random_seed(0)
    model = shaken(sequence_model(architecture))
    clip = CLIPS[3]
    gap = Embeddings(clip.values, clip.time + np.where(np.arange(9) > 4, 2.0, 0))
    later = Embeddings(clip.values, clip.time + 100)
    plain, with_gap, with_delay = (run(model, pad([one], 9))["probabilities"] for one in (clip, gap, later))
    assert np.abs(with_gap - plain).max() > 1e-4
    np.testing.assert_allclose(with_delay, plain, atol=1e-4)


def test_a_dimension_at_rest_in_training_cannot_dominate_at_use() -> None:
    values = RNG.normal(0, 1, (50, 3)).astype(np.float32)
    values[:, 0] = 2
    spread = scaling(values, 0.1).spread
    assert 0.03 < spread[0] < 0.2
    assert scaling(np.zeros((4, 2), np.float32), 0.1).spread.tolist() == [1, 1]


@pytest.mark.parametrize("times", [[0, 0, 0], [0, -1e-3, -2e-3], [5, 4, 3]])
def test_steps_of_time_that_are_zero_or_negative_give_numbers(times: list[float]) -> None:
    model = shaken(sequence_model("lstm"))
    batch = {"embeddings": CLIPS[1].values[None], "time": np.array([times], np.float32)}
    assert np.isfinite(run(model, batch)["probabilities"]).all()
