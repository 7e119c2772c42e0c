"""The sequence model: padding, order in time, clips without a face, and what a training may and must do to clips."""

from pathlib import Path

import numpy as np
import pytest
import toys
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.features.cache import Embeddings
from vfer.lstm.baseline import Baseline
from vfer.lstm.sequences import pad, predict, thin
from vfer.lstm.train import ClipPart, batches, median_step, train
from vfer.nets import export
from vfer.nets.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

PARAMS = toys.lstm_params(units=6, epochs=25, patience=25, batch_size=8, learning_rate=0.05)


def embeddings_of(values: NDArray[np.floating]) -> Embeddings:
    return Embeddings(np.asarray(values, np.float32), np.arange(len(values)) / 10)


def courses(n: int, seed: int) -> ClipPart:
    """Clips of unlike lengths that rise or fall: the frames of the two classes are alike, their order is not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rises = [np.linspace(0, 1, int(rng.integers(5, 12))) for _ in range(n)]
    levels = [rise[::-1] if label else rise for rise, label in zip(rises, labels, strict=True)]
    return ClipPart([embeddings_of(np.stack([level, 1 - level, level**2, level * 0 + 0.5], axis=1)) for level in levels], labels)


def test_batches_have_the_length_of_the_longest_clip_of_all() -> None:
    """Else Keras, which looks at the first two batches, refuses a later one of another length."""
    part = courses(40, 0)
    lengths = [len(clip) for clip in part.clips]
    assert len({max(lengths[i : i + 2]) for i in range(0, 40, 2)}) > 1
    for most, longest in ((20, max(lengths)), (7, 7)):
        changes = {"batch_size": 2, "max_frames": most, "frame_dropout": 0.9}
        result = batches(part, 2, PARAMS.model_copy(update=changes), 3, fitted=True)
        inputs = [result[i][0] for i in range(len(result))]
        assert {batch["embeddings"].shape for batch in inputs} == {(2, longest, 4)}  # type: ignore[call-overload]
        assert {batch["time"].shape for batch in inputs} == {(2, longest)}  # type: ignore[call-overload]


def test_what_is_trained_on_loses_frames_and_changes_speed_and_what_is_validated_on_does_not() -> None:
    part = courses(64, 1)
    params = PARAMS.model_copy(update={"batch_size": 64, "frame_dropout": 0.8, "time_jitter": 0.3})
    plain, again = (batches(part, 2, params, 3, fitted=False)[0][0] for _ in range(2))
    augmented = batches(part, 2, params, 3, fitted=True)[0][0]
    lengths = np.array([len(clip) for clip in part.clips])
    counts = (augmented["time"] >= 0).sum(axis=1)  # type: ignore[call-overload]
    assert ((plain["time"] >= 0).sum(axis=1) == lengths).all()  # type: ignore[call-overload]
    np.testing.assert_array_equal(plain["embeddings"], again["embeddings"])  # type: ignore[call-overload]
    assert counts.min() >= 1
    assert 0.4 < counts.mean() / lengths.mean() < 0.8
    assert counts.std() > 1
    longest = np.array([clip.time[-1] - clip.time[0] for clip in part.clips]).max()
    assert longest < augmented["time"].max() < 1.3 * longest  # type: ignore[call-overload]


def test_a_drawn_baseline_moves_the_clips_that_are_trained_on_alone() -> None:
    up = Baseline(np.full(4, 2, np.float32), np.full(4, 10, np.float32))
    part = courses(8, 1)
    with_baselines = ClipPart(
        part.clips, part.labels, lambda row, _: up if row % 2 else Baseline(np.ones(4, np.float32), np.zeros(4, np.float32))
    )
    values = batches(with_baselines, 2, PARAMS, 3, fitted=True)[0][0]["embeddings"]  # type: ignore[call-overload]
    assert sorted((values.max(axis=(1, 2)) > 5).tolist()) == [False] * 4 + [True] * 4
    assert batches(with_baselines, 2, PARAMS, 3, fitted=False)[0][0]["embeddings"].max() <= 1  # type: ignore[call-overload]


def test_the_median_step_looks_within_clips() -> None:
    clips = [Embeddings(np.zeros((3, 1), np.float32), np.array([5, 5.2, 5.4])), Embeddings(np.zeros((1, 1), np.float32), np.array([9.0]))]
    assert median_step(clips) == pytest.approx(0.2)
    assert median_step(clips[1:]) == 1


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A model that was trained to tell rising clips from falling ones."""
    folder, data = tmp_path_factory.mktemp("lstm"), {"train": courses(32, 0), "validation": courses(8, 1)}
    model, fit = train(data, 2, PARAMS, 3, None, lambda *_: None)
    assert fit.history[fit.best]["val_loss"] < fit.history[0]["val_loss"]
    export.save(model, folder, pad(data["validation"].clips, 20), ["rises", "falls"])
    return Session(folder / "model.onnx")


def test_the_order_of_frames_decides(session: Session) -> None:
    unseen = courses(20, 2)
    forth = predict(session, unseen.clips, 20)
    back = predict(session, [embeddings_of(clip.values[::-1]) for clip in unseen.clips], 20)
    assert (forth.argmax(axis=1) == unseen.labels).mean() > 0.9
    assert (back.argmax(axis=1) == 1 - unseen.labels).mean() > 0.9


def test_padding_changes_no_answer(session: Session) -> None:
    clips = courses(9, 3).clips
    alone = np.concatenate([session(pad([clip], len(clip)))["probabilities"] for clip in clips])
    together = session(pad(clips, 20))["probabilities"]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(predict(session, clips, 20), alone, atol=1e-5)


def test_a_frame_of_zeros_is_no_padding(session: Session) -> None:
    clip = courses(1, 4).clips[0]
    longer = embeddings_of(np.concatenate([clip.values, np.zeros((3, 4), np.float32)]))
    assert np.abs(predict(session, [longer], 20) - predict(session, [clip], 20)).max() > 1e-3


def test_a_faceless_clip_has_a_row_of_nan_and_costs_the_others_nothing(session: Session) -> None:
    clips = courses(130, 5).clips  # more than two batches
    none = embeddings_of(np.zeros((0, 4)))
    prediction = predict(session, [none, *clips, none], 20)
    assert prediction.shape == (132, 2)
    assert np.isnan(prediction[[0, -1]]).all()
    np.testing.assert_allclose(prediction[1:-1], predict(session, clips, 20), atol=1e-6)
    np.testing.assert_allclose(prediction[1:-1].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(predict(session, [none], 20)).all()


def test_each_answer_stands_in_the_row_of_its_clip(session: Session) -> None:
    clips = courses(70, 6).clips
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_allclose(predict(session, [clips[i] for i in order], 20), predict(session, clips, 20)[order], atol=1e-5)


def test_a_model_that_does_not_know_the_time_is_refused_in_one_line(session: Session) -> None:
    session = Session.__new__(Session)
    session.inputs, session.classes = ["embeddings"], ["a", "b"]
    with pytest.raises(WeightsError, match="trained by another version of vfer"):
        predict(session, courses(1, 0).clips, 20)


def column(n: int) -> NDArray[np.float32]:
    return np.arange(n, dtype=np.float32)[:, None]


@pytest.mark.parametrize("most", [2, 3, 7, 10, 50])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 11, 49])
def test_thinning_keeps_the_ends_the_order_and_even_steps(n: int, most: int) -> None:
    values = thin(column(n), most).ravel()
    assert len(values) == min(n, most)
    assert (values[0], values[-1]) == (0, n - 1)
    steps = np.diff(values)
    assert (steps > 0).all()
    assert np.ptp(steps) <= 1 if len(steps) else n == 1


def test_padding_is_on_the_right_and_a_longer_clip_is_thinned_with_its_times() -> None:
    result = pad([embeddings_of(column(2)), embeddings_of(column(9)), embeddings_of(column(1))], 4)
    assert [value.dtype for value in result.values()] == [np.float32, np.float32]
    assert result["embeddings"][..., 0].tolist() == [[0, 1, 0, 0], [0, 3, 5, 8], [0, 0, 0, 0]]
    np.testing.assert_allclose(result["time"], [[0, 0.1, -1, -1], [0, 0.3, 0.5, 0.8], [0, -1, -1, -1]], atol=1e-6)


def test_the_time_counts_from_the_first_frame_of_a_clip() -> None:
    late = Embeddings(column(2), np.array([3600.0, 3600.1]))
    np.testing.assert_allclose(pad([late], 2)["time"], [[0, 0.1]], atol=1e-6)


def test_an_interrupted_training_leaves_a_checkpoint_that_is_used(tmp_path: Path) -> None:
    data = {"train": courses(8, 0), "validation": courses(4, 1)}
    short = PARAMS.model_copy(update={"epochs": 2})
    _, fit = train(data, 2, short, 3, tmp_path, lambda *_: None)
    epochs: list[int] = []
    _, again = train(data, 2, short.model_copy(update={"epochs": 3}), 3, tmp_path, lambda epoch, _: epochs.append(epoch))
    assert epochs == [2]
    assert again.history[:2] == fit.history


def test_without_validation_all_epochs_run_and_the_last_one_stays() -> None:
    _, fit = train({"train": courses(8, 0)}, 2, PARAMS.model_copy(update={"epochs": 4, "patience": 1}), 3, None, lambda *_: None)
    assert (len(fit.history), fit.best) == (4, 3)
    assert set(fit.history[0]) == {"accuracy", "loss"}


def test_it_does_not_stop_before_half_of_the_epochs() -> None:
    """The labels of validation are wrong, so that its loss rises from the first epoch on."""
    wrong = courses(8, 1)
    data = {"train": courses(32, 0), "validation": ClipPart(wrong.clips, 1 - wrong.labels)}
    _, fit = train(data, 2, PARAMS.model_copy(update={"epochs": 12, "patience": 1}), 3, None, lambda *_: None)
    assert 6 <= len(fit.history) < 12
