"""The methods of the comparison, on clips whose answer they can, or cannot, know."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from test_lstm import PARAMS

from vfer.compare.methods.base import MethodClips, Task
from vfer.compare.methods.params import EncodingParams, NetParams
from vfer.compare.table import ENTRIES, load

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # those of TensorFlow

SHARED = {"units": 16, "dropout": 0.1, "epochs": 20, "patience": 20, "batch_size": 8, "learning_rate": 0.01, "class_balance": 0.5}
NETS = NetParams.model_validate(SHARED | {"volume_frames": 8})
LSTM = PARAMS.model_copy(update=SHARED)
TASK = Task(3, 0, LSTM, NETS, EncodingParams(components=8, centres=2, frames=10_000, strengths=[0.1, 1, 10]))
ONCE = {"epochs": 1, "dropout": 0.0}
QUICKLY = replace(TASK, nets=NETS.model_copy(update=ONCE), lstm=LSTM.model_copy(update=ONCE))
WIDTH = 12


def times(embeddings: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    return [np.arange(len(clip)) / 10 for clip in embeddings]


def still(seed: int, count: int) -> MethodClips:
    """Clips of one of three looks: single frames tell the class. The looks are a bright third of the crop."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    lengths = rng.integers(5, 9, count)
    base = np.repeat(np.eye(3), WIDTH // 3, axis=1)
    embeddings = [np.abs(base[label] + rng.normal(0, 0.2, (n, WIDTH))).astype(np.float32) for label, n in zip(labels, lengths, strict=True)]
    crops = []
    for label, n in zip(labels, lengths, strict=True):
        pictures = rng.integers(0, 90, (n, 48, 48))
        pictures[:, 16 * label : 16 * (label + 1)] += 120
        crops.append(pictures.astype(np.uint8))
    return MethodClips(labels, embeddings, times(embeddings), crops, [np.zeros((n, 48, 48, 2), np.float32) for n in lengths])


def moving(seed: int, count: int) -> MethodClips:
    """Clips of one of three courses of the same frames: up, down, or at rest. A patch moves with them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    embeddings, crops, motion = [], [], []
    texture = rng.integers(0, 255, (96, 96)).astype(np.uint8)
    texture = np.repeat(np.repeat(texture[:24, :24], 4, axis=0), 4, axis=1)
    for label in labels:
        n = int(rng.integers(6, 9))
        places = [np.linspace(0, 1, n), np.linspace(1, 0, n), rng.permutation(np.linspace(0, 1, n))][label]
        embeddings.append(np.abs(places[:, None] * np.ones(WIDTH) + rng.normal(0, 0.02, (n, WIDTH))).astype(np.float32))
        steps = np.arange(n) * 2 * [1, -1, 0][label] + 20
        crops.append(np.stack([texture[step : step + 48, 20:68] for step in steps]))
        field = np.zeros((n, 48, 48, 2), np.float32)
        field[1:, :, :, 1] = -2 * [1, -1, 0][label]
        motion.append(field)
    return MethodClips(labels, embeddings, times(embeddings), crops, motion)


def right(name: str, make: Callable[[int, int], MethodClips], count: int = 45) -> float:
    method = load(name)(make(1, count), make(2, 15), TASK)
    test = make(3, 30)
    shares = method.answer(test)
    assert shares.shape == (30, 3)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert method.parameters > 0
    return float((shares.argmax(axis=1) == test.labels).mean())


QUICK_COURSES = {"lstm", "lstm_attention", "temporal_convolutions", "cnn3d", "two_stream"}
QUICK = {"frames", "encodings", "vae", "sequences"}
COURSES = [name for name, entry in ENTRIES.items() if entry.module in ("sequences", "volume", "streams") and name != "transformer"]


def slow_where(name: str, quick: bool) -> object:
    return pytest.param(name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(
    "name", [slow_where(name, entry.module in QUICK and name not in COURSES) for name, entry in ENTRIES.items() if name != "flow"]
)
def test_what_single_frames_show_is_learned(name: str) -> None:
    assert right(name, still) > 0.8


@pytest.mark.parametrize("name", [slow_where(name, name in QUICK_COURSES) for name in COURSES])
def test_what_only_the_course_shows_is_learned_by_those_who_see_it(name: str) -> None:
    assert right(name, moving) > 0.8


@pytest.mark.parametrize("name", ["frames_mean", "frames_vote", "svm_pooled", "svm_vlad"])
def test_what_only_the_course_shows_is_not_learned_without_it(name: str) -> None:
    assert right(name, moving) < 0.7


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.module in ("frames", "encodings")])
def test_validation_clips_teach_no_method_a_class(name: str) -> None:
    """They only choose strengths and epochs, so that all methods learn from the same clips."""
    method = load(name)(some(still(1, 45), 0, 1), some(still(2, 30), 2), TASK)
    assert not (method.answer(still(3, 30)).argmax(axis=1) == 2).any()


@pytest.mark.parametrize(
    "name", [slow_where(name, entry.module in ("frames", "encodings") or name in QUICK_COURSES) for name, entry in ENTRIES.items()]
)
def test_the_answer_to_a_clip_depends_on_no_other_clip(name: str) -> None:
    """Whatever is padded to what, in whatever order, alone or in batches."""
    method = load(name)(moving(1, 12), moving(2, 6), QUICKLY)
    test = moving(3, 9)
    order = np.random.default_rng(0).permutation(len(test))
    together = method.answer(test)
    alone = np.concatenate([method.answer(select(test, [number])) for number in range(len(test))])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(method.answer(select(test, order)), together[order], atol=1e-5)
    longer = select(test, [0, 0])
    longer.embeddings[1] = np.tile(longer.embeddings[1], (3, 1))
    longer.times[1] = np.arange(len(longer.embeddings[1])) / 10
    np.testing.assert_allclose(method.answer(longer)[0], together[0], atol=1e-5)


def select(clips: MethodClips, numbers: Sequence[int]) -> MethodClips:
    return MethodClips(
        clips.labels[numbers], *([values[i] for i in numbers] for values in (clips.embeddings, clips.times, clips.crops, clips.motion))
    )


def some(clips: MethodClips, *labels: int) -> MethodClips:
    return select(clips, np.flatnonzero(np.isin(clips.labels, labels)).tolist())
