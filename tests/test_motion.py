"""The motion of crops, from what the codec left in a file."""

from pathlib import Path

import av
import numpy as np
import pytest

from vfer.compare import motion
from vfer.errors import DataError
from vfer.faces.table import Faces, write
from vfer.video.picture import Orientation

STEP = 2  # pixels a frame
COUNT = 12


def texture(seed: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(np.repeat(rng.integers(0, 255, (side // 4, side // 4)), 4, axis=0), 4, axis=1).astype(np.uint8)


def video(path: Path, codec: str = "libx264") -> Path:
    """A picture that moves right by `STEP` pixels a frame, and down by half of it."""
    whole = texture(0, 400)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"preset": "medium", "crf": "12"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "gray" if codec == "ffv1" else "yuv420p"
        for number in range(COUNT):
            left, top = 100 - STEP * number, 100 - STEP // 2 * number
            picture = np.ascontiguousarray(whole[top : top + 120, left : left + 160])
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def faces(every: int, follow: int, frame_size: tuple[int, int] = (160, 120), statuses: str = "detected") -> Faces:
    """Every so many frames, a box of 60 pixels that moves by `follow` pixels a frame to the right."""
    frames = np.arange(0, COUNT, every, np.int32)
    scale = frame_size[0] / 160
    boxes = np.array([[50 + follow * frame, 30, 110 + follow * frame, 90] for frame in frames], np.float32) * scale
    n = len(frames)
    size = {"width": str(frame_size[0]), "height": str(frame_size[1])}
    return Faces(frames, frames / 10, [statuses] * n, np.ones(n, np.float32), boxes, np.zeros((n, 48, 48), np.uint8), size)


def middle(field: np.ndarray) -> np.ndarray:
    """The sum of the median moves of all frames but the first, so that it does not matter which frames the codec predicted."""
    return np.median(field[1:], axis=(1, 2)).sum(axis=0)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("frame_size", [(160, 120), (80, 60)])
def test_what_moves_in_the_picture_moves_in_the_crop(tmp_path: Path, every: int, frame_size: tuple[int, int]) -> None:
    track = faces(every, 0, frame_size)
    result = motion.of_crops(video(tmp_path / "a.mp4"), track, 0)
    assert result.shape == (len(track.frame), motion.GRID, motion.GRID, 2)
    assert not result[0].any()
    shift = np.array([STEP, STEP / 2]) * (track.frame[-1] - track.frame[0]) * 48 / 60
    np.testing.assert_allclose(middle(result), shift, rtol=0.3)


def test_a_face_that_the_crop_follows_does_not_move_in_it(tmp_path: Path) -> None:
    result = middle(motion.of_crops(video(tmp_path / "a.mp4"), faces(1, STEP), 0))
    assert abs(result[0]) < 0.3 * STEP * (COUNT - 1)
    assert result[1] > 0.5 * STEP / 2 * (COUNT - 1) * 48 / 60


def test_a_margin_makes_the_same_move_smaller(tmp_path: Path) -> None:
    output = video(tmp_path / "a.mp4")
    plain, wide = (middle(motion.of_crops(output, faces(1, 0), margin)) for margin in (0.0, 1.0))
    np.testing.assert_allclose(wide, plain / 2, rtol=0.2)


def test_a_lossless_codec_tells_nothing_and_frames_without_a_face_are_left_out(tmp_path: Path) -> None:
    assert not motion.of_crops(video(tmp_path / "a.mkv", "ffv1"), faces(1, 0), 0).any()
    assert motion.of_crops(tmp_path / "a.mkv", faces(1, 0, statuses="none"), 0).shape == (0, motion.GRID, motion.GRID, 2)


def test_vectors_turn_with_the_picture() -> None:
    field = np.zeros((4, 6, 2), np.float32)
    field[0, 0] = 1, 2  # in the upper left corner: right by 1, down by 2
    ways = {0: (False, False, False), 90: (True, False, True), 180: (False, True, True), 270: (True, True, False)}
    turns = {rotation: motion._turned(field, Orientation(*way)) for rotation, way in ways.items()}
    mirror = motion._turned(field, Orientation(mirror=True))
    assert tuple(mirror[0, -1]) == (-1, 2)
    assert tuple(turns[0][0, 0]) == (1, 2)
    assert tuple(turns[90][-1, 0]) == (2, -1)
    assert tuple(turns[180][-1, -1]) == (-1, -2)
    assert tuple(turns[270][0, -1]) == (-2, 1)


def test_a_table_keeps_what_was_found(tmp_path: Path) -> None:
    film, track = video(tmp_path / "a.mp4"), faces(1, 0)
    write(tmp_path / "faces.parquet", track)
    job = motion.MotionJob("a", film, tmp_path / "out" / "a.parquet", tmp_path / "faces.parquet", 0, "")
    assert motion.write(job)
    assert motion.has_motion(job.target)
    back = motion.read(job.target)
    assert back.shape == (COUNT, 48, 48, 2)
    np.testing.assert_allclose(back[:, ::2, ::2], motion.of_crops(film, track, 0), atol=0.02)
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.parquet: is not a readable table of motion"):
        motion.read(tmp_path / "bad.parquet")
