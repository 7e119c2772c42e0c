"""The recogniser must answer as the stages do, to the last bit."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import toys

from vfer.errors import ClipError
from vfer.faces import clip as faces_clip
from vfer.faces import table, weights
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.features import cache
from vfer.features.embed import embed
from vfer.lstm.sequences import predict
from vfer.nets.session import Session
from vfer.predict.answering import Answerer, EmbeddedFrames
from vfer.predict.recogniser import Recogniser
from vfer.video import frames
from vfer.video.frames import FramesJob, FramesParams

FRAMES = FramesParams(max_bad=0)
FACES = FacesParams(detector="centerface")
MOST = 6


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return weights.resolve(FACES, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.render(tmp_path_factory.mktemp("videos") / "clip.mp4")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(1)
    return toys.convolutional_cnn(folder / "cnn.onnx"), toys.lstm(folder / "lstm.onnx", rng.normal(0, 1, (16, 2)).tolist())


def recogniser(models: tuple[Path, Path], detector: Detector, params: FramesParams = FRAMES) -> Recogniser:
    return Recogniser(Session(models[0]), Session(models[1]), detector, params, FACES, MOST)


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 256), (2, 3)])
def test_it_gives_the_stages_embeddings_and_probabilities_to_the_last_bit(
    threads: int, batch_size: int, video: Path, models: tuple[Path, Path], detector: Detector, tmp_path: Path
) -> None:
    frames.write(FramesJob("toy/clip", video, tmp_path / "frames.parquet", "scene", FRAMES))
    table.write(tmp_path / "faces.parquet", faces_clip.find_in(tmp_path / "frames.parquet", detector, FACES))
    sequence = embed(Session(models[0], threads=threads), "toy/clip", table.read(tmp_path / "faces.parquet"), batch_size)
    cache.write(tmp_path / "features.parquet", [sequence], {})
    [clip] = cache.read(tmp_path / "features.parquet")

    result = recogniser(models, detector).recognise(video)
    assert len(clip.faces) > MOST, "too few faces to test thinning"
    np.testing.assert_array_equal(result.sequence.status, clip.status)
    np.testing.assert_array_equal(result.sequence.time, clip.time)
    np.testing.assert_array_equal(result.sequence.embedding, clip.embedding)
    np.testing.assert_array_equal(result.sequence.probabilities, clip.probabilities)
    np.testing.assert_array_equal(result.probabilities, predict(Session(models[1]), [clip.shown], MOST)[0])
    assert result.probabilities.sum() == pytest.approx(1)


def test_a_clip_without_a_face_has_no_probabilities(models: tuple[Path, Path], detector: Detector, tmp_path: Path) -> None:
    with toys.Writer(tmp_path / "grey.mp4", (96, 64), 10, crf=30, sound=False) as writer:
        for level in range(4):
            writer.add(np.full((64, 96, 3), 90 + level, np.uint8))
    result = recogniser(models, detector).recognise(tmp_path / "grey.mp4")
    assert result.sequence.status.tolist() == ["none"] * 4
    assert np.isnan(result.probabilities).all()
    assert result.probabilities.shape == (2,)


def test_a_video_that_cannot_be_used_is_a_clip_error(video: Path, models: tuple[Path, Path], detector: Detector, tmp_path: Path) -> None:
    ready = recogniser(models, detector)
    with pytest.raises(ClipError, match="there is no such file"):
        ready.recognise(tmp_path / "none.mp4")
    (tmp_path / "bad.mp4").write_bytes(video.read_bytes()[:300])
    with pytest.raises(ClipError, match="cannot be decoded"):
        ready.recognise(tmp_path / "bad.mp4")
    with pytest.raises(ClipError, match="cannot be decoded"):
        ready.recognise(tmp_path)
    with pytest.raises(ClipError, match=r"gives 10 frame, fewer than frames\.min_frames \(50\)"):
        recogniser(models, detector, FRAMES.model_copy(update={"min_frames": 50})).recognise(video)


def test_a_picture_is_refused(models: tuple[Path, Path], detector: Detector, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(ClipError, match="is a picture"):
        recogniser(models, detector).recognise(tmp_path / "picture.png")


@pytest.mark.parametrize(("mode", "counts"), [("none", [5] * 6), ("subject", [5] * 6), ("iterative", [1, 1, 2, 2, 2, 2])])
def test_a_served_model_takes_the_clips_that_it_was_trained_to_take(tmp_path: Path, mode: str, counts: list[int]) -> None:
    """Of six clips, the most neutral quarter are two; `dark` is the toy's neutral."""
    lstm = toys.lstm(tmp_path / "lstm.onnx", [[2, 0], [0, 2]], baseline=mode)
    answerer = Answerer(Session(toys.cnn(tmp_path / "cnn.onnx")), Session(lstm), 20)
    values = [np.array([[1 - light, light]] * 3, np.float32) for light in (0.0, 0.1, 0.8, 0.9, 1.0, 0.7)]
    own = answerer.from_others([EmbeddedFrames(one, one, np.arange(3) / 10) for one in values])
    assert sorted(count for _, count in own) == counts
    assert all(np.allclose(baseline.scale, 1) for baseline, _ in own) == (mode == "iterative")
