"""The sequence model: padding, order in time, and clips without a face."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.lstm.model import build
from vfer.lstm.params import LstmParams
from vfer.lstm.sequences import PADDING, pad, predict, thin
from vfer.lstm.train import Part, batches, train
from vfer.nets import export
from vfer.nets.session import Session

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of TensorFlow and tf2onnx
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),  # of tf2onnx
]

PARAMS = LstmParams(
    units=6, dropout=0, epochs=25, patience=25, batch_size=8, learning_rate=0.05, class_balance=1, max_frames=20, deterministic=False
)


def courses(n: int, seed: int) -> Part:
    """Clips of unlike lengths that rise or fall: the frames of the two classes are alike, their order is not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rises = [np.linspace(0, 1, int(rng.integers(5, 12))) for _ in range(n)]
    levels = [rise[::-1] if label else rise for rise, label in zip(rises, labels, strict=True)]
    return Part([np.stack([level, 1 - level, level**2, level * 0 + 0.5], axis=1).astype(np.float32) for level in levels], labels)


def test_batches_have_the_length_of_the_longest_clip_of_all() -> None:
    """Else Keras, which looks at the first two batches, refuses a later one of another length."""
    part = courses(40, 0)
    lengths = [len(sequence) for sequence in part.sequences]
    assert len({max(lengths[i : i + 2]) for i in range(0, 40, 2)}) > 1
    for most, longest in ((20, max(lengths)), (7, 7)):
        found = batches(part, 2, PARAMS.model_copy(update={"batch_size": 2, "max_frames": most}), 3, fitted=True)
        assert {found[i][0].shape for i in range(len(found))} == {(2, longest, 4)}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A model that was trained to tell rising clips from falling ones."""
    folder, data = tmp_path_factory.mktemp("lstm"), {"train": courses(32, 0), "validation": courses(8, 1)}
    model, fit = train(data, 2, PARAMS, 3, None, lambda *_: None)
    assert fit.history[fit.best]["val_loss"] < fit.history[0]["val_loss"]
    export.save(model, folder, pad(data["validation"].sequences, 20), ["rises", "falls"])
    return Session(folder / "model.onnx")


def test_the_order_of_frames_decides(session: Session) -> None:
    unseen = courses(20, 2)
    forth = predict(session, unseen.sequences, 20)
    back = predict(session, [sequence[::-1] for sequence in unseen.sequences], 20)
    assert (forth.argmax(axis=1) == unseen.labels).mean() > 0.9
    assert (back.argmax(axis=1) == 1 - unseen.labels).mean() > 0.9


def test_padding_changes_no_answer(session: Session) -> None:
    clips = courses(9, 3).sequences
    alone = np.concatenate([session(clip[None])["probabilities"] for clip in clips])
    together = session(pad(clips, 20))["probabilities"]
    wide = session(np.pad(pad(clips, 20), ((0, 0), (0, 30), (0, 0)), constant_values=PADDING))["probabilities"]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(wide, alone, atol=1e-5)
    np.testing.assert_allclose(predict(session, clips, 20), alone, atol=1e-5)


def test_a_frame_of_zeros_is_no_padding(session: Session) -> None:
    clip = courses(1, 4).sequences[0]
    longer = np.concatenate([clip, np.zeros((3, 4), np.float32)])
    assert np.abs(session(longer[None])["probabilities"] - session(clip[None])["probabilities"]).max() > 1e-3


def test_a_faceless_clip_has_a_row_of_nan_and_costs_the_others_nothing(session: Session) -> None:
    clips = courses(130, 5).sequences  # more than two batches
    none = np.zeros((0, 4), np.float32)
    found = predict(session, [none, *clips, none], 20)
    assert found.shape == (132, 2)
    assert np.isnan(found[[0, -1]]).all()
    np.testing.assert_allclose(found[1:-1], predict(session, clips, 20), atol=1e-6)
    np.testing.assert_allclose(found[1:-1].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(predict(session, [none], 20)).all()


def test_each_answer_stands_in_the_row_of_its_clip(session: Session) -> None:
    clips = courses(70, 6).sequences
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_allclose(predict(session, [clips[i] for i in order], 20), predict(session, clips, 20)[order], atol=1e-5)


def test_the_networks_shape_names_and_limits() -> None:
    model = build(4, 3, 5, 0.5)
    assert model.input_shape == (None, None, 4)
    assert [layer.name for layer in model.layers] == ["embeddings", "mask", "lstm", "dropout", "probabilities"]
    assert model.output["probabilities"].shape == (None, 3)
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        build(4, 1, 5, 0.5)


def numbered(n: int) -> NDArray[np.float32]:
    return np.arange(n, dtype=np.float32)[:, None]


@pytest.mark.parametrize("most", [2, 3, 7, 10, 50])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 11, 49])
def test_thinning_keeps_the_ends_the_order_and_even_steps(n: int, most: int) -> None:
    kept = thin(numbered(n), most).ravel()
    assert len(kept) == min(n, most)
    assert (kept[0], kept[-1]) == (0, n - 1)
    steps = np.diff(kept)
    assert (steps > 0).all()
    assert np.ptp(steps) <= 1 if len(steps) else n == 1


def test_padding_is_on_the_right_and_the_longest_counts_at_most_so_many_frames() -> None:
    found = pad([numbered(2), numbered(9), numbered(1)], 4)
    assert (found.shape, found.dtype) == ((3, 4, 1), np.float32)
    assert found[..., 0].tolist() == [[0, 1, -1, -1], [0, 3, 5, 8], [0, -1, -1, -1]]
    assert pad([numbered(2)], 4).shape == (1, 2, 1)


def test_an_interrupted_training_leaves_a_checkpoint_that_is_used(tmp_path: Path) -> None:
    data = {"train": courses(8, 0), "validation": courses(4, 1)}
    short = PARAMS.model_copy(update={"epochs": 2})
    _, fit = train(data, 2, short, 3, tmp_path, lambda *_: None)
    epochs: list[int] = []
    _, again = train(data, 2, short.model_copy(update={"epochs": 3}), 3, tmp_path, lambda epoch, _: epochs.append(epoch))
    assert epochs == [2]
    assert again.history[:2] == fit.history
