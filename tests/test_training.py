"""The training loop, its batches, and the export: Keras on toy nets."""

import errno
import os
import platform
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from vfer import env
from vfer.errors import VferError, WeightsError
from vfer.nets import export, training
from vfer.nets.average import Average
from vfer.nets.batches import Batches
from vfer.nets.checkpoint import Logs, Monitor
from vfer.nets.session import Session
from vfer.nets.training import Fit

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]


def examples(n: int = 40, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points of two classes that a line parts, and their one-hot targets."""
    points = np.random.default_rng(seed).normal(0, 1, (n, 4)).astype(np.float32)
    return points, np.eye(2, dtype=np.float32)[(points[:, 0] > 0).astype(int)]


def batches(n: int = 40, *, seed: int = 1, shuffle: bool = True, noise: float = 0.0, targets: NDArray[np.float32] | None = None) -> Batches:
    points, own = examples(n)

    def make(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        return (points[rows] + noise * rng.normal(0, 1, (len(rows), 4))).astype(np.float32)

    return Batches(make, own if targets is None else targets, np.arange(1, n + 1, dtype=np.float32), 16, seed, shuffle=shuffle)


def net(dropout: float = 0.0, *, learning_rate: float = 0.02, steps: int = 30) -> keras.Model:
    training.seed_everything(3, deterministic=True)
    inputs = keras.Input((4,), name="points")
    x = layers.Dense(6, activation="relu", name="dense")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="probabilities")(x))
    training.compile_classifier(model, learning_rate=learning_rate, steps=steps, weight_decay=0.01, label_smoothing=0.05)
    return model


def run(
    model: keras.Model,
    checkpoint: Path | None = None,
    *,
    epochs: int = 6,
    patience: int = 6,
    on_epoch: Callable[[int, Logs], None] = lambda *_: None,
    wrong: bool = False,
    averaging: float = 0,
    monitor: Monitor = "loss",
) -> Fit:
    validation = batches(24, shuffle=False, targets=examples(24)[1][:, ::-1].copy() if wrong else None)
    plan: dict[str, Any] = {"epochs": epochs, "patience": patience, "checkpoint": checkpoint, "averaging": averaging, "monitor": monitor}
    return training.fit(model, batches(noise=0.3), validation, on_epoch=on_epoch, **plan)


def contents(of: Batches) -> list[tuple[bytes, bytes, bytes]]:
    return [tuple(part.tobytes() for part in of[i]) for i in range(len(of))]  # type: ignore[misc]


def test_batches_depend_on_seed_epoch_and_index_alone() -> None:
    one, other = batches(noise=1.0), batches(noise=1.0)
    one.start(2)
    other.start(5)
    other.start(2)
    assert one[1][0].tobytes() == other[1][0].tobytes(), "asked out of order"
    assert contents(one) == contents(other)
    other.start(3)
    assert contents(one) != contents(other)
    different = batches(noise=1.0, seed=2)
    different.start(2)
    assert contents(one) != contents(different)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_example_stands_once_in_an_epoch_with_its_own_target_and_weight(shuffle: bool) -> None:
    points, targets = examples()
    result = batches(shuffle=shuffle)
    result.start(4)
    assert [len(result[i][0]) for i in range(len(result))] == [16, 16, 8]
    inputs, labels, weights = (np.concatenate(parts) for parts in zip(*(result[i] for i in range(len(result))), strict=True))
    order = weights.astype(int) - 1
    assert sorted(order) == list(range(40))
    assert (order.tolist() == list(range(40))) is not shuffle
    np.testing.assert_array_equal(inputs, points[order])
    np.testing.assert_array_equal(labels, targets[order])


@pytest.mark.parametrize("balance", [0, 0.5, 1])
def test_class_weights_have_mean_1_and_balance_the_classes(balance: float) -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    weights = training.class_weights(labels, 4, balance)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1)
    sums = [weights[labels == i].sum() for i in range(3)]
    assert sums[2] / sums[0] == pytest.approx(6 ** (1 - balance), rel=1e-5)


def test_a_training_learns_and_keeps_the_weights_of_its_lowest_validation_loss() -> None:
    model = net(learning_rate=0.05)
    weights: list[list[NDArray[np.float32]]] = []
    fit = run(model, epochs=8, patience=20, on_epoch=lambda *_: weights.append(model.get_weights()), wrong=True)
    losses = [logs["val_loss"] for logs in fit.history]
    assert fit.best == int(np.argmin(losses)) < 7, "the last epoch was the best: this tells nothing"
    for value, expected in zip(model.get_weights(), weights[fit.best], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert fit.history[-1]["loss"] < 0.8 * fit.history[0]["loss"], "it did not learn what it was given"
    assert [row["epoch"] for row in fit.rows()] == list(range(1, 9))


@pytest.mark.parametrize(("monitor", "best"), [("loss", 1), ("accuracy", 3)])
def test_the_lowest_loss_or_the_highest_accuracy_chooses(
    monitor: Monitor, best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = net()
    weights: list[list[NDArray[np.float32]]] = []
    validations = iter([{"loss": loss, "accuracy": accuracy} for loss, accuracy in [(3, 0.1), (1, 0.2), (4, 0.5), (2, 0.5), (5, 0.4)]])
    monkeypatch.setattr(model, "evaluate", lambda *_, **__: next(validations))
    fit = run(model, tmp_path, epochs=5, patience=5, on_epoch=lambda *_: weights.append(model.get_weights()), monitor=monitor)
    assert fit.best == best
    assert (tmp_path / f"epoch-{best + 1}.keras").is_file()
    for value, expected in zip(model.get_weights(), weights[best], strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("patience", [1, 3])
def test_it_stops_after_as_many_epochs_without_a_lower_loss(patience: int) -> None:
    fit = run(net(learning_rate=0.05), epochs=30, patience=patience, wrong=True)
    assert len(fit.history) == fit.best + 1 + patience < 30


class Interrupted(Exception):  # noqa: N818  # it stands for a kill
    """A kill."""


def resume(
    dropout: float, checkpoint: Path, after: int, epochs: int, *, wrong: bool = False, averaging: float = 0
) -> tuple[keras.Model, Fit, list[int]]:
    """A training that breaks off after an epoch, and goes on in a new model."""

    def stop(epoch: int, _: Logs) -> None:
        if epoch + 1 == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(net(dropout), checkpoint, epochs=epochs, patience=2, on_epoch=stop, wrong=wrong, averaging=averaging)
    model, went = net(dropout), []
    after_all = run(
        model, checkpoint, epochs=epochs, patience=2, on_epoch=lambda epoch, _: went.append(epoch), wrong=wrong, averaging=averaging
    )
    return model, after_all, went


@pytest.mark.parametrize(("dropout", "averaging"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.7)])
def test_an_interrupted_training_goes_on_as_if_it_never_stopped(dropout: float, averaging: float, tmp_path: Path) -> None:
    whole = net(dropout)
    expected = run(whole, epochs=4, patience=2, averaging=averaging)
    model, fit, went = resume(dropout, tmp_path / "checkpoint", 2, 4, averaging=averaging)
    assert went == [2, 3]
    assert fit.best == expected.best
    for row, other in zip(fit.history, expected.history, strict=True):
        assert row == pytest.approx(other, abs=1e-5)
    for value, other in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-6)


@pytest.mark.parametrize("averaging", [0.0, 0.2])
def test_best_weights_from_before_the_interruption_come_back(averaging: float, tmp_path: Path) -> None:
    whole = net()
    expected = run(whole, epochs=9, patience=2, wrong=True, averaging=averaging)
    after = expected.best + 2
    model, fit, went = resume(0, tmp_path / "checkpoint", after, 9, wrong=True, averaging=averaging)
    assert fit.best == expected.best < after
    assert went == [after], "it stops when the uninterrupted training does"
    for value, other in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(value, other, atol=1e-6)


def test_a_checkpoint_holds_the_last_and_the_best_epoch_and_nothing_more(tmp_path: Path) -> None:
    fit = run(net(learning_rate=0.05), tmp_path, epochs=9, patience=2, wrong=True)
    last, best = len(fit.history), fit.best + 1
    assert last != best
    assert {path.name for path in tmp_path.iterdir()} == {"state.json", f"epoch-{last}.keras", f"epoch-{best}.keras"}


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    targets = examples()[1].copy()
    model, good = net(), batches()
    bad = Batches(lambda rows, _: np.full((len(rows), 4), np.nan, np.float32), targets, np.ones(40, np.float32), 16, 0, shuffle=False)
    with pytest.raises(VferError, match=r"epoch 1, step 1: the loss is no longer a number; lower the learning rate$"):
        training.fit(model, bad, good, epochs=3, patience=1, checkpoint=None, on_epoch=lambda *_: None)
    epochs: list[int] = []

    def poison(epoch: int, _: Logs) -> None:
        epochs.append(epoch)
        model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])

    model = net()
    with pytest.raises(VferError, match=r"epoch 2, step 1: .*; the model of epoch 1 is kept as .*epoch-1\.keras"):
        training.fit(model, good, batches(24, shuffle=False), epochs=3, patience=1, checkpoint=tmp_path, on_epoch=poison)
    assert epochs == [0]
    network = keras.models.load_model(tmp_path / "epoch-1.keras")
    assert all(np.isfinite(value).all() for value in network.get_weights())


def test_an_epoch_that_only_fails_in_validation_names_its_last_step() -> None:
    bad = Batches(
        lambda rows, _: np.full((len(rows), 4), np.nan, np.float32), examples(24)[1], np.ones(24, np.float32), 16, 0, shuffle=False
    )
    with pytest.raises(VferError, match="epoch 1, step 3: "):
        training.fit(net(), batches(), bad, epochs=1, patience=1, checkpoint=None, on_epoch=lambda *_: None)


def test_the_average_follows_the_weights_and_is_what_is_validated_and_kept() -> None:
    model = net(learning_rate=0.05)
    average = Average(model, 0.75)
    expected = [value.astype(np.float64) for value in model.get_weights()]
    for step in range(1, 5):
        model.set_weights([value + step for value in model.get_weights()])
        average.follow()
        decay = min(0.75, step / (step + 9))
        expected = [mean * decay + value * (1 - decay) for mean, value in zip(expected, model.get_weights(), strict=True)]
    live = model.get_weights()
    with average.applied():
        for value, mean in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(value, mean, rtol=1e-5)
    for value, before in zip(model.get_weights(), live, strict=True):
        np.testing.assert_array_equal(value, before)
    live_weights: list[list[NDArray[np.float32]]] = []
    fit = run(model := net(learning_rate=0.05), epochs=3, averaging=0.9, on_epoch=lambda *_: live_weights.append(model.get_weights()))
    validation = batches(24, shuffle=False).dataset()
    assert model.evaluate(validation, verbose=0, return_dict=True)["loss"] == pytest.approx(fit.history[fit.best]["val_loss"], rel=1e-4)
    assert any((value != other).any() for value, other in zip(model.get_weights(), live_weights[fit.best], strict=True)), (
        "the live weights were kept"
    )


def test_mixup_mixes_inputs_targets_and_weights_by_the_same_shares() -> None:
    points, targets = examples()
    weights = np.arange(1, 41, dtype=np.float32)
    mixture = Batches(lambda rows, _: points[rows], targets, weights, 40, 0, shuffle=False, mixup=1.0)
    inputs, mixed_targets, mixed_weights = mixture[0]
    assert inputs.dtype == mixed_targets.dtype == mixed_weights.dtype == np.float32
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, rtol=1e-5)
    for row in range(40):
        difference = points - points[row]
        share = ((inputs[row] - points[row]) @ difference.T) / np.maximum((difference**2).sum(axis=1), 1e-9)
        fits = [i for i in range(40) if np.allclose(inputs[row], points[row] + share[i] * difference[i], atol=1e-4)]
        assert any(np.allclose(mixed_weights[row], weights[row] + share[i] * (weights[i] - weights[row]), atol=1e-2) for i in fits)
        assert any(np.allclose(mixed_targets[row], targets[row] + share[i] * (targets[i] - targets[row]), atol=1e-3) for i in fits)
    assert ((mixed_targets > 0.05) & (mixed_targets < 0.95)).any()


@pytest.mark.parametrize(
    ("setting", "flags", "expected"),
    [
        ("float32", "avx512_bf16", "float32"),
        ("auto", "sse avx512_bf16 x", "mixed_bfloat16"),
        ("auto", "sse avx2", "float32"),
    ],
)
def test_the_precision_is_what_the_processor_has(
    setting: str, flags: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t: {flags}\n")
    monkeypatch.setattr(env, "CPU", tmp_path / "cpuinfo")
    assert training.precision(setting) == expected
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    env.prepare_tensorflow(setting)
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == ("0" if expected == "float32" else None), "which crashes in float32"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2", "the user's"
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)


FAULTS = """
import resource, sys, threading
from vfer import env
if sys.argv[1:]:
    env.prepare_tensorflow()

def steps():
    for _ in range(20):
        blocks = [b"x" * 2**24 for _ in range(4)]
        del blocks

thread = threading.Thread(target=steps)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides for itself what to keep")
def test_memory_that_a_step_frees_is_kept_for_the_next() -> None:
    without, with_it = (
        int(subprocess.run([sys.executable, "-c", FAULTS, *words], capture_output=True, check=True).stdout) for words in ((), ("prepared",))
    )
    assert without - with_it > 10 * 2**24 // resource.getpagesize()


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    model = net(learning_rate=0.5, steps=100)
    rates = [float(model.optimizer._learning_rate(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.005)
    assert max(rates) == pytest.approx(0.5)
    assert int(np.argmax(rates)) == 5
    assert rates[100] == pytest.approx(0, abs=1e-6)


def toy() -> keras.Model:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, 3), name="sequence")
    x = layers.BatchNormalization(name="norm")(inputs)
    mean = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(inputs, {"embedding": mean, "probabilities": layers.Dense(2, activation="softmax", name="dense")(mean)}, name="toy")


def recurrent() -> keras.Model:
    """A net whose export has a loop, a graph within the graph."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, 3), name="sequence")
    state = layers.LSTM(4, name="lstm")(inputs)
    return keras.Model(inputs, {"probabilities": layers.Dense(2, activation="softmax", name="dense")(state)}, name="toy")


def sample(n: int = 5, time: int = 4) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1, (n, time, 3)).astype(np.float32)


def test_the_onnx_twin_answers_alike_for_any_batch_and_time_and_names_its_classes(tmp_path: Path) -> None:
    model = toy()
    model.get_layer("norm").set_weights([np.array(v, np.float32) for v in ([1, 2, 3], [0, 1, 0], [5, -5, 1], [4, 1, 9])])
    export.save(model, tmp_path / "new", sample(), ["sad", "glad"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.keras", "model.onnx"]
    session = Session(tmp_path / "new" / "model.onnx")
    assert session.classes == ["sad", "glad"]
    for n, time in ((1, 1), (7, 9)):
        expected = model(sample(n, time), training=False)
        outputs = session(sample(n, time))
        assert set(outputs) == {"embedding", "probabilities"}
        for name, value in outputs.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-4)
    back = keras.models.load_model(tmp_path / "new" / "model.keras", compile=False)
    np.testing.assert_allclose(back(sample())["embedding"], model(sample(), training=False)["embedding"], atol=1e-6)


def test_an_export_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(WeightsError, match=r"model\.onnx: the ONNX export differs from Keras by .* in embedding; it was not kept"):
        export.save_onnx(toy(), tmp_path / "model.onnx", sample(), ["a", "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["resnet", "mobilenet"])
def test_plain_convolutions_train_in_float32_with_onednn(architecture: str) -> None:
    """A crash of oneDNN would end the process."""
    code = f"""
from vfer import env
env.prepare_tensorflow("float32", separable=False)
import numpy as np
from vfer.cnn import model
from vfer.nets import training
net = model.classifier(model.build({architecture!r}, 2, 4, 0.1))
training.compile_classifier(net, learning_rate=0.01, steps=2)
loss = net.train_on_batch(np.random.rand(4, 48, 48, 1), np.eye(2)[[0, 1, 1, 0]])
assert np.isfinite(loss).all(), loss
"""
    process = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-500:]


def test_the_same_weights_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = f"import sys\nfrom pathlib import Path\nimport {__name__}\nfrom vfer.nets import export\n"
    code += f"export.save_keras({__name__}.toy(), Path('second.keras'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    export.save_keras(toy(), tmp_path / "first.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.keras", "second.keras"]


def test_the_same_weights_give_the_same_export_whatever_the_process_did_before(tmp_path: Path) -> None:
    """TensorFlow numbers the functions of a process; a training that goes on after a kill comes to the export with others."""
    for name in ("first.onnx", "second.onnx"):
        export.save_onnx(recurrent(), tmp_path / name, sample(), ["a", "b"])
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


@pytest.mark.parametrize("save", [export.save_keras, partial(export.save_onnx, sample=sample(), classes=["a", "b"])])
def test_a_disk_that_is_full_leaves_no_part_of_a_model(save: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    monkeypatch.setattr(export.onnx, "save", full)
    with pytest.raises(OSError, match="No space"):
        save(toy(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"model\.onnx: is not a valid ONNX model"):
        Session(tmp_path / "model.onnx")
