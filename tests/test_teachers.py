"""Distillation: what teachers add to the targets, and which are refused."""

from pathlib import Path

import numpy as np
import pytest
import toys

from vfer.cnn import teachers
from vfer.cnn.data import StillPart
from vfer.errors import WeightsError
from vfer.nets.session import Session

LABELS = np.array([0, 1, 1, 0])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        toys.cnn(tmp_path / "teachers" / f"{name}.onnx")
    return tmp_path


def stills() -> StillPart:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 48, 48)).astype(np.uint8)
    return StillPart(pixels, LABELS, np.eye(2, dtype=np.float32)[LABELS])


def test_targets_are_a_mix_of_labels_and_the_teachers_mean_answer(weights: Path) -> None:
    part, paths = stills(), teachers.find(weights)
    assert [path.name for path in paths] == ["a.onnx", "b.onnx"]
    answer = Session(paths[0])(part.pixels[..., None])["probabilities"]
    taught = teachers.teach(part, paths, toys.CLASSES, [], 0.75)
    np.testing.assert_allclose(taught.targets, 0.75 * answer + 0.25 * part.targets, atol=1e-6)
    assert taught.targets.sum(axis=1) == pytest.approx(1)
    assert (taught.labels == part.labels).all()


def test_teachers_of_other_classes_or_sizes_and_none_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx: its classes are .*, expected happy, sad"):
        teachers.teach(stills(), teachers.find(weights), ["happy", "sad"], [], 0.5)
    with pytest.raises(WeightsError, match=r"a\.onnx: its vote classes are none"):
        teachers.teach(stills(), teachers.find(weights), toys.CLASSES, ["sad"], 0.5)
    small = StillPart(np.zeros((2, 40, 40), np.uint8), LABELS[:2], np.eye(2, dtype=np.float32))
    with pytest.raises(WeightsError, match="does not take faces of 40x40 pixels"):
        teachers.teach(small, teachers.find(weights), toys.CLASSES, [], 0.5)
    with pytest.raises(WeightsError, match="holds no teacher"):
        teachers.find(tmp_path / "nowhere")
