"""Decoding and sampling, on videos made here: pixels, times, orientation, and what is refused."""

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from av.video.frame import PictureType
from numpy.typing import NDArray
from videos import FULL, LIMITED, frame_of, quadrants, tag, video

from vfer.errors import ClipError
from vfer.video import decode
from vfer.video.frames import FRAMES_SCHEMA, Frame, FramesJob, FramesParams, sample, write

PARAMS = FramesParams()


def noise(count: int) -> list[NDArray[np.uint8]]:
    """Pictures that do not compress, so that a file that is cut loses frames."""
    rng = np.random.default_rng(0)
    return [rng.integers(16, 236, (64, 96), dtype=np.uint8) for _ in range(count)]


def times_of(path: Path, fps: float = 10) -> list[tuple[int, float]]:
    return [(frame.index, frame.time) for frame in sample(path, fps, 640)]


def first(path: Path, max_side: int = 640) -> NDArray[np.uint8]:
    return next(iter(sample(path, 10, max_side))).grey


def refusal(path: Path) -> str:
    with pytest.raises(ClipError) as excinfo:
        list(sample(path, 10, 640))
    assert "\n" not in str(excinfo.value)
    assert str(excinfo.value).startswith(f"{path}: ")
    return str(excinfo.value).removeprefix(f"{path}: ")


def test_a_constant_rate_is_sampled_evenly_from_its_first_frame(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", range(20, 50), rate=30)
    assert times_of(path, 10) == [(3 * n, pytest.approx(n / 10, abs=1e-4)) for n in range(10)]
    assert [index for index, _ in times_of(path, 12)] == [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]


def test_the_picture_is_the_one_of_its_index(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", range(20, 200, 6), rate=30, colours=FULL)
    shades = {frame.index: int(np.median(frame.grey)) for frame in sample(path, 10, 640)}
    assert shades == {index: pytest.approx(20 + 6 * index, abs=2) for index in range(0, 30, 3)}


def test_a_slower_video_keeps_all_of_its_frames(tmp_path: Path) -> None:
    assert times_of(video(tmp_path / "a.mp4", range(20, 26), rate=5), 10) == [(n, n / 5) for n in range(6)]


def test_a_rate_of_ntsc_loses_no_tick(tmp_path: Path) -> None:
    pts = [round(n * 1001 / 30) for n in range(90)]
    result = times_of(video(tmp_path / "a.mkv", [60] * 90, pts=pts), 10)
    assert len(result) == 30
    assert all(0 <= time - n / 10 < 1001 / 30000 + 0.001 for n, (_, time) in enumerate(result))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_sampled_evenly_in_time(tmp_path: Path, suffix: str) -> None:
    pts = [0, 20, 40, 90, 110, 130, 600, 610, 690, 705]  # a burst, a gap of half a second, a burst
    result = times_of(video(tmp_path / f"a.{suffix}", [60] * 10, pts=pts), 10)
    assert result == [(0, 0.0), (4, 0.11), (6, 0.6), (9, 0.705)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_count_from_the_first_frame(tmp_path: Path, suffix: str) -> None:
    path = video(tmp_path / f"a.{suffix}", [60] * 4, pts=[700, 800, 900, 1000])
    assert times_of(path) == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3)]


def test_frames_stored_out_of_order_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "3", "b-adapt": "0", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(12):
            frame = frame_of(np.full((64, 96), 40 + 10 * index, np.uint8), "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert PictureType.B in {frame.pict_type for frame in container.decode(video=0)}
    frames = list(sample(tmp_path / "b.mp4", 10, 640))
    assert [(frame.index, frame.time) for frame in frames] == [(n, n / 10) for n in range(12)]
    assert np.all(np.diff([int(np.median(frame.grey)) for frame in frames]) > 5)


def write_b_frames(path: Path, count: int = 60, skip: int = 0) -> Path:
    """Write a moving pattern at 30 frames a second, most of it B-frames; the first packets may be left out, as a rough cut does."""
    pattern = cv2.GaussianBlur(np.random.default_rng(0).integers(30, 220, (64, 96 + count), dtype=np.uint8), (0, 0), 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "3", "b-adapt": "0", "crf": "10", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        packets = []
        for index in range(count):
            frame = frame_of(np.ascontiguousarray(pattern[:, index : index + 96]), "yuv420p")
            frame.pts = index
            packets.extend(stream.encode(frame))
        container.mux([*packets, *stream.encode()][skip:])
    return path


@pytest.mark.parametrize("fps", [1, 4, 7.5, 10, 29])
@pytest.mark.parametrize("skip", [0, 7])
def test_frames_that_are_not_decoded_change_no_pixel(tmp_path: Path, fps: float, skip: int) -> None:
    path = write_b_frames(tmp_path / "a.mkv", skip=skip)
    whole = list(sample(path, 1000, 640))
    assert len(whole) == 60 if not skip else 30 <= len(whole) < 60
    some = list(sample(path, fps, 640))
    expected = [frame for n, frame in enumerate(whole) if n == 0 or int(frame.time * fps + 1e-5) > int(whole[n - 1].time * fps + 1e-5)]
    assert [(frame.index, frame.time) for frame in some] == [(frame.index, frame.time) for frame in expected]
    assert all(np.array_equal(one.grey, other.grey) for one, other in zip(some, expected, strict=True))


def test_frames_that_no_tick_takes_are_not_decoded_where_no_other_needs_them(tmp_path: Path) -> None:
    path = write_b_frames(tmp_path / "a.mp4")
    every, some = ({frame.index for frame in decode.decoded(path, fps=fps)} for fps in (None, 10))
    assert every == set(range(60))
    assert set(range(0, 60, 3)) <= some
    assert len(some) < 45


# ISO 14496-12: (x, y) is shown at (ax + cy, bx + dy), y downwards. {0, 1, -1, 0} takes the picture's right to the bottom and its
# bottom to the left: a quarter turn clockwise, which an upright phone writes.
@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        ((1, 0, 0, 1), [[220, 160], [40, 100]]),
        ((0, 1, -1, 0), [[40, 220], [100, 160]]),
        ((-1, 0, 0, -1), [[100, 40], [160, 220]]),
        ((0, -1, 1, 0), [[160, 100], [220, 40]]),
        ((-1, 0, 0, 1), [[160, 220], [100, 40]]),
        ((1, 0, 0, -1), [[40, 100], [220, 160]]),
        ((0, 1, 1, 0), [[220, 40], [160, 100]]),
        ((0, -1, -1, 0), [[100, 160], [40, 220]]),
    ],
    ids=["upright", "clockwise", "half", "counterclockwise", "mirrored", "upside down", "transposed", "transposed the other way"],
)
def test_the_display_matrix_is_honoured(tmp_path: Path, matrix: tuple[int, int, int, int], corners: list[list[int]]) -> None:
    path = tag(video(tmp_path / "a.mp4", [quadrants()] * 2, colours=FULL), matrix)
    grey = first(path)
    height, width = grey.shape
    assert (height, width) == ((64, 96) if matrix[0] else (96, 64))
    quarters = grey[height // 4 :: height // 2, width // 4 :: width // 2]
    np.testing.assert_allclose(quarters, corners, atol=3)


def test_a_turned_video_is_shrunk_by_its_longer_side(tmp_path: Path) -> None:
    path = tag(video(tmp_path / "a.mp4", [quadrants()] * 2), (0, 1, -1, 0))
    assert first(path, 48).shape == (48, 32)


PATCHES = [16, 60, 126, 180, 235]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("colours", [LIMITED, FULL])
def test_known_greys_come_out_in_full_range(tmp_path: Path, pix_fmt: str, codec: str, colours: int) -> None:
    path = video(tmp_path / "a.mp4", PATCHES, codec=codec, pix_fmt=pix_fmt, colours=colours)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).format.name in (pix_fmt, pix_fmt.replace("yuv", "yuvj"))
    shades = [frame.grey for frame in sample(path, 10, 640)]
    expected = PATCHES if colours == FULL else [(patch - 16) * 255 / 219 for patch in PATCHES]
    for shade, value in zip(shades, expected, strict=True):
        np.testing.assert_allclose(shade, value, atol=2)


def test_values_outside_the_limited_range_do_not_wrap(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [4, 250], codec="libx265")
    assert [int(frame.grey[0, 0]) for frame in sample(path, 10, 640)] == [0, 255]


def test_lossless_grey_comes_out_as_it_is(tmp_path: Path) -> None:
    pictures = [np.random.default_rng(n).integers(0, 256, (48, 48), dtype=np.uint8) for n in range(3)]
    path = video(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="gray")
    assert all(np.array_equal(frame.grey, picture) for frame, picture in zip(sample(path, 10, 640), pictures, strict=True))


def test_colour_pictures_become_grey(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
        for index, colour in enumerate(colours):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), colour, np.uint8), format="rgb24").reformat(format="bgr0")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shades = [int(frame.grey[9, 9]) for frame in sample(tmp_path / "a.mkv", 10, 640)]
    assert shades == [pytest.approx(value, abs=2) for value in (0, 255, 76, 150, 29)]  # Rec. 601


@pytest.mark.parametrize(("pix_fmt", "size"), [("yuv444p", (63, 95)), ("yuv420p", (63, 95)), ("gray", (49, 53))])
def test_odd_sizes_keep_every_row_and_column(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(np.uint8) + 30
    path = video(tmp_path / "a.mkv", [ramp] * 2, codec="ffv1", pix_fmt=pix_fmt, colours=FULL)
    np.testing.assert_array_equal(first(path), ramp)


def test_a_large_picture_is_shrunk_and_a_small_one_left(tmp_path: Path) -> None:
    wide = video(tmp_path / "a.mp4", [60] * 2, size=(180, 320))
    assert first(wide, 640).shape == (180, 320)
    assert first(wide, 100).shape == (56, 100)
    assert first(video(tmp_path / "b.mp4", [60] * 2, size=(320, 180)), 100).shape == (100, 56)


def test_shrinking_averages(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 48))
    path = video(tmp_path / "a.mkv", [stripes] * 2, codec="ffv1", pix_fmt="gray")
    np.testing.assert_allclose(first(path, 48), 100, atol=1)


def test_a_sound_file_has_no_video_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert refusal(path) == "has no video stream; give a video"


def test_missing_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.mp4").startswith("cannot be decoded (there is no such file); replace")
    (tmp_path / "empty.mp4").touch()
    assert refusal(tmp_path / "empty.mp4").startswith("cannot be decoded (the file is empty); replace")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    assert refusal(tmp_path / "text.mp4").startswith("cannot be decoded (Invalid data found")
    (tmp_path / "folder.mp4").mkdir()
    assert refusal(tmp_path / "folder.mp4").startswith("cannot be decoded (Is a directory); give a video")


@pytest.mark.parametrize("movflags", ["", "faststart"], ids=["moov last", "moov first"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_file_is_refused(tmp_path: Path, movflags: str, share: float) -> None:
    path = video(tmp_path / "a.mp4", noise(20), movflags=movflags)
    content = path.read_bytes()
    assert (content.index(b"moov") < content.index(b"mdat")) == (movflags == "faststart")
    path.write_bytes(content[: int(share * len(content))])
    line = refusal(path)
    assert line.startswith(("is truncated, ", "cannot be decoded (Invalid data found"))
    assert line.endswith("; replace or remove the file")


def test_a_file_cut_between_two_frames_is_refused(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", noise(20), movflags="faststart")
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    path.write_bytes(path.read_bytes()[: at[12]])
    assert refusal(path).startswith("is truncated, 12 of 20 frames decode")


def test_a_trimmed_file_is_not_truncated(tmp_path: Path) -> None:
    """A phone that trims a video keeps all frames in the file; its edit list says which are shown."""
    path = video(tmp_path / "a.mp4", [*range(20, 220, 10), *range(220, 20, -10)], colours=FULL)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    with av.open(str(path)) as container:
        ticks = round(1 / container.streams.video[0].time_base)
    assert struct.unpack_from(">Ii", content, at)[0] == 4000
    struct.pack_into(">Ii", content, at, 1000, struct.unpack_from(">i", content, at + 4)[0] + 2 * ticks)
    path.write_bytes(content)
    frames = list(sample(path, 10, 640))
    assert [frame.time for frame in frames] == [pytest.approx(n / 10) for n in range(10)]
    assert [int(frame.grey[9, 9]) for frame in frames] == [pytest.approx(220 - 10 * n, abs=2) for n in range(10)]


def test_tags_in_another_encoding_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Zoeé"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux(stream.encode(frame_of(np.full((64, 96), 60, np.uint8), "yuv420p")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert content.count("Zoeé".encode()) == 1
    path.write_bytes(content.replace("Zoeé".encode(), b"Zoe\xe9x"))
    assert times_of(path) == [(0, 0.0)]


def job(tmp_path: Path, source: Path, **changes: float) -> FramesJob:
    return FramesJob("toy/a", source, tmp_path / "out" / "toy" / "a.parquet", "scene", PARAMS.model_copy(update=changes))


def test_the_table_holds_each_frame(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", [*([30] * 70), *([200] * 70)], size=(90, 160))
    work = job(tmp_path, source, max_side=80)
    assert write(work).frames == 140
    with pq.ParquetFile(work.target) as file:
        assert file.schema_arrow.equals(FRAMES_SCHEMA)
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        assert metadata == {"framing": "scene", "width": "80", "height": "45"}
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [64, 64, 12]
        table = file.read()
    assert table["frame"].to_pylist() == list(range(140))
    assert table["time"].to_pylist() == [pytest.approx(n / 10) for n in range(140)]
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) for data in table["jpeg"].to_pylist()]
    assert {picture.shape for picture in pictures} == {(45, 80)}
    expected = [(shade - 16) * 255 / 219 for shade in [*([30] * 70), *([200] * 70)]]
    np.testing.assert_allclose([np.median(picture) for picture in pictures], expected, atol=3)


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", noise(5))
    write(first_time := job(tmp_path / "x", source))
    write(second_time := job(tmp_path / "y", source))
    assert first_time.target.read_bytes() == second_time.target.read_bytes()


def test_one_frame_is_too_few_and_said_so(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", [60])
    assert times_of(source) == [(0, 0.0)]
    with pytest.raises(ClipError, match=r"a\.mp4: gives 1 frame, fewer than frames\.min_frames \(2\); remove it"):
        write(job(tmp_path, source))
    assert write(job(tmp_path, source, min_frames=1)).frames == 1


def test_a_failure_leaves_nothing_behind_and_the_former_table_alone(tmp_path: Path) -> None:
    whole = video(tmp_path / "a.mp4", noise(100), movflags="faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(0.9 * whole.stat().st_size)])
    for source in (cut, tmp_path / "no.mp4"):
        with pytest.raises(ClipError):
            write(job(tmp_path, source))
        assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    write(job(tmp_path, whole))
    before = job(tmp_path, whole).target.read_bytes()
    with pytest.raises(ClipError):
        write(job(tmp_path, cut))
    assert job(tmp_path, whole).target.read_bytes() == before
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["a.parquet"]


def test_real_clips_decode_whole(real_data: Path) -> None:
    clips = sorted((real_data / "ravdess").rglob("*.mp4"))
    if not clips:
        pytest.skip(f"no RAVDESS clips under {real_data}")
    for path in clips:
        with av.open(str(path)) as container:
            rate = float(container.streams.video[0].average_rate or 0)
            # The edit list of the published clips hides their last frame.
            count = sum(bool(packet.size) and not packet.is_discard for packet in container.demux(video=0))
        frames = list(sample(path, 1000, 320))
        assert [frame.index for frame in frames] == list(range(count))
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(count) / rate, atol=2e-3)
        check_sample(frames, list(sample(path, 10, 320)), count / rate)


def check_sample(every: list[Frame], some: list[Frame], seconds: float) -> None:
    """Ten a second, each the first at or after its tick, the same pixels as when all are taken."""
    assert abs(len(some) - 10 * seconds) <= 1
    assert all(-1e-6 <= frame.time - n / 10 < 0.035 for n, frame in enumerate(some))
    assert all(np.array_equal(frame.grey, every[frame.index].grey) for frame in some)


def test_other_real_videos_decode(real_data: Path) -> None:
    for path in sorted((real_data / "videos").iterdir()):
        frames = list(sample(path, 2, 160))
        assert len(frames) > 1
        assert max(frames[0].grey.shape) == 160
