"""Real and hostile files: the picture as players show it, times that hold, what is tolerated and counted, and what is never opened."""

import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from videos import FULL, LIMITED, frame_of, quadrants, tag, video

from vfer.errors import ClipError, UnexpectedError
from vfer.video import container, decode, picture, timing
from vfer.video.frames import sample

Grey = NDArray[np.uint8]


def read(path: Path, fps: float | None = None, max_side: int | None = None) -> tuple[list[decode.Frame], list[str]]:
    notes = Counter[str]()
    return list(decode.frames(path, fps, max_side, notes=notes)), sorted(+notes)


def refusal(path: Path) -> str:
    with pytest.raises(ClipError) as excinfo:
        read(path)
    assert not isinstance(excinfo.value, UnexpectedError)
    assert "\n" not in str(excinfo.value)
    return str(excinfo.value)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


# The picture


@pytest.mark.parametrize("ratio", [Fraction(2, 1), Fraction(16, 11), Fraction(1, 2)])
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, ratio: Fraction) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        for index in range(3):
            frame = frame_of(quadrants(), "yuv420p")
            frame.pts = index
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    size = (round(96 * ratio), 64) if ratio > 1 else (96, round(64 / ratio))
    assert read(path)[0][0].grey.shape == size[::-1]
    assert decode.probe(path) == decode.Video(10, 0.3, *size)
    upright = tag(path, (0, 1, -1, 0))
    assert read(upright)[0][0].grey.shape == size
    assert max(read(upright, max_side=48)[0][0].grey.shape) == 48


@pytest.mark.parametrize("bottom", [False, True])
def test_interlaced_frames_show_one_moment(tmp_path: Path, bottom: bool) -> None:
    """A bar moves between the two fields of a frame: woven together they comb."""
    flags = {"flags": "+ildct+ilme", "x264-params": "bff=1" if bottom else "tff=1", "crf": "1"}
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=10, options=flags)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for index in range(6):
            woven = np.full((96, 128), 60, np.uint8)
            for field in (0, 1):
                left = 10 + 8 * (2 * index + field)
                woven[(field + bottom) % 2 :: 2, left : left + 16] = 200
            frame = frame_of(woven, "yuv420p")
            frame.pts = index
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    for index, frame in enumerate(read(path)[0]):
        expected = np.full((96, 128), (60 - 16) * 255 / 219)
        expected[:, 10 + 16 * index : 26 + 16 * index] = (200 - 16) * 255 / 219
        assert np.abs(frame.grey - expected).mean() < 2


def test_a_field_keeps_its_lines_and_fills_between() -> None:
    lines = np.repeat(np.array([[10], [99], [20], [99], [40], [99]], np.uint8), 3, axis=1)
    assert picture.deinterlaced(lines, bottom=False)[:, 0].tolist() == [10, 15, 20, 30, 40, 40]
    assert picture.deinterlaced(lines[::-1], bottom=True)[:, 0].tolist() == [40, 40, 30, 20, 15, 10]
    assert picture.deinterlaced(lines[:5], bottom=False)[:, 0].tolist() == [10, 15, 20, 30, 40]
    assert picture.deinterlaced(lines[:1], bottom=True)[:, 0].tolist() == [10]


def pq(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084's signal of what a standard display, whose white is HDR's reference white, shows of grey levels from 0 to 1."""
    light = (203 * grey**2.4 / 10000) ** (2610 / 16384)
    return ((107 / 128 + 2413 / 128 * light) / (1 + 2392 / 128 * light)) ** (2523 / 32)


def hlg(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same in hybrid log-gamma on a display of 1000 cd/m2."""
    light = (203 * grey**2.4 / 1000) ** (1 / 1.2)
    return np.where(light <= 1 / 12, np.sqrt(3 * light), 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073)


@pytest.mark.parametrize(("transfer", "encode"), [(16, pq), (18, hlg)], ids=["PQ", "HLG"])
def test_high_dynamic_range_is_shown_as_on_a_standard_display(
    tmp_path: Path, transfer: int, encode: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    light = np.tile(np.linspace(0.05, 0.85, 96), (64, 1))
    signal = np.round(64 + 876 * encode(light)).astype(np.uint16)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.codec_context.color_trc, stream.codec_context.color_range = transfer, LIMITED
        for index in range(2):
            frame = av.VideoFrame(96, 64, "yuv420p10le")
            for number, plane in enumerate(frame.planes):
                rows = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
                if not number:
                    rows[:, :96] = signal
                plane.update(rows.tobytes())
            frame.pts, frame.color_trc, frame.color_range = index, transfer, LIMITED
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    grey = read(path)[0][0].grey
    np.testing.assert_allclose(grey, 255 * light, atol=2)
    [colour_frame] = decode.frames(path, end=0.05, colour=True)
    assert colour_frame.rgb is not None
    np.testing.assert_allclose(colour_frame.rgb.mean(axis=2), 255 * light, atol=4)
    assert np.all(np.diff(picture._curve(transfer).astype(int)) >= 0)
    assert picture._curve(transfer)[-1] == pytest.approx(255, abs=6)


@pytest.mark.parametrize("pix_fmt", ["yuv422p10le", "yuv444p", "yuv411p", "gray", "gray16le", "yuva420p", "bgr0"])
def test_every_pixel_format_gives_the_same_grey(tmp_path: Path, pix_fmt: str) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 97, 65, pix_fmt
        level = np.linspace(5, 250, 97).astype(np.uint8)
        source = av.VideoFrame.from_ndarray(np.tile(level, (65, 1)), format="gray")
        source = source.reformat(format="rgb24", threads=1).reformat(format=pix_fmt, threads=1)
        for index in range(2):
            source.pts = index
            target.mux(stream.encode(source))
        target.mux(stream.encode())
    frames, notes = read(path)
    np.testing.assert_allclose(frames[0].grey, np.tile(level, (65, 1)), atol=3)
    assert notes == (["transparency is ignored"] if pix_fmt == "yuva420p" else [])


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    content = video(tmp_path / "a.mp4", [60, 70, 80]).read_bytes()
    at = content.index(b"moov") - 4
    body = content[at + 8 :][: content[at + 8 :].rfind(b"udta") - 4]
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 128, 128, "yuvj420p", Fraction(1, 10)
    cover = bytes(jpeg.encode(av.VideoFrame.from_ndarray(np.full((128, 128), 9, np.uint8), format="gray").reformat(format="yuvj420p"))[0])
    art = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0) + cover)))
    art = box(b"udta", box(b"meta", b"\0" * 4 + box(b"hdlr", b"\0" * 8 + b"mdirappl" + b"\0" * 9) + art))
    (tmp_path / "cover.mp4").write_bytes(content[:at] + box(b"moov", art + body))
    with av.open(str(tmp_path / "cover.mp4")) as file:
        assert len(file.streams.video) == 2
        assert file.streams.video[0].codec_context.name == "mjpeg"
    frames, _ = read(tmp_path / "cover.mp4")
    assert [frame.grey.shape for frame in frames] == [(64, 96)] * 3


def test_a_picture_that_changes_its_size_is_fitted_into_the_first_ones(tmp_path: Path) -> None:
    parts = [video(tmp_path / f"{width}.h264", [100] * 3, size=(64, width)).read_bytes() for width in (96, 128)]
    (tmp_path / "a.h264").write_bytes(b"".join(parts))
    frames, notes = read(tmp_path / "a.h264")
    assert [frame.grey.shape for frame in frames] == [(64, 96)] * 6
    assert notes == [decode.RESIZED]
    assert frames[-1].grey[0, 0] == 0
    assert frames[-1].grey[32, 48] == frames[0].grey[32, 48] > 0


# Times


def test_recordings_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    part = video(tmp_path / "a.ts", range(20, 220, 10))
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 2)
    frames, notes = read(tmp_path / "joined.ts", fps=5)
    assert [frame.time for frame in frames] == [pytest.approx(n / 5, abs=1e-3) for n in range(20)]
    assert notes == [timing.RESTARTED]


def test_a_clip_may_begin_and_end_anywhere(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", range(20, 60), rate=20)
    part = list(decode.frames(path, 10, start=0.5, end=1.0))
    assert [(frame.index, frame.time) for frame in part] == [(n, n / 20) for n in range(10, 20, 2)]
    assert len(list(decode.frames(path))) == 40
    assert list(decode.frames(path, start=9)) == []


def test_a_longer_clip_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [60] * 20)
    assert len(list(decode.frames(path, longest=2.0))) == 20
    with pytest.raises(ClipError, match=r"a\.mp4: is longer than 1\.9 s \(frames\.max_seconds\); cut it"):
        next(decode.frames(path, longest=1.9))
    silent = video(tmp_path / "a.h264", [60] * 60)  # says nothing of its length
    with pytest.raises(ClipError, match=r"is longer than 1 s"):
        list(decode.frames(silent, longest=1))


# Damage


def spoil(path: Path, numbers: Sequence[int]) -> Path:
    with av.open(str(path)) as file:
        packets = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        content[position : position + size] = bytes(size)
    target = path.with_name("spoilt.mp4")
    target.write_bytes(content)
    return target


def test_a_damaged_packet_costs_no_clip_but_many_do(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", [*range(20, 120)] * 2, codec="mpeg4")
    frames, _notes = read(spoil(path, [77]))
    assert 198 <= len(frames) <= 200
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)
    assert read(spoil(path, [77]), fps=5)[0][-1].time == pytest.approx(19.8, abs=0.2)
    assert refusal(spoil(path, range(20, 60))).endswith("replace or remove the file")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_file_whose_end_is_missing_is_refused_if_that_is_much(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(16, 236, (64, 96), dtype=np.uint8) for _ in range(40)]
    content = video(tmp_path / f"a.{suffix}", pictures, movflags="faststart" if suffix == "mp4" else "").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[: int(0.97 * len(content))])
    assert len(read(cut)[0]) >= 37
    cut.write_bytes(content[: int(0.6 * len(content))])
    assert "is truncated, " in refusal(cut)


def test_a_short_clip_whose_last_frame_has_no_duration_is_whole(tmp_path: Path) -> None:
    assert len(read(video(tmp_path / "a.wmv", [60] * 6, codec="wmv2", rate=25))[0]) == 6


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(video(tmp_path / "b.mp4", [60] * 3).read_bytes().replace(b"avc1", b"zzzz"))
    assert "its codec is unknown" in refusal(path)


def test_a_stream_that_appears_on_the_way_does_no_harm(tmp_path: Path) -> None:
    """FLV names its streams as they come; here sound begins after the header was read."""
    content = video(tmp_path / "a.flv", [60 + n for n in range(30)], codec="flv1").read_bytes()
    at = len(content) // 2
    at = content.index(b"\x09", at)  # the next video tag, near enough
    while content[at + 8 : at + 11] != b"\0\0\0":  # a stream id of zero
        at = content.index(b"\x09", at + 1)
    sound = b"\x08" + (14).to_bytes(3, "big") + content[at + 4 : at + 8] + b"\0\0\0" + b"\x2e" + bytes(13)
    (tmp_path / "late.flv").write_bytes(content[:at] + sound + (25).to_bytes(4, "big") + content[at:])
    assert len(read(tmp_path / "late.flv")[0]) == 30


def test_an_error_that_nobody_foresaw_becomes_the_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "a.mp4", [60] * 3)
    monkeypatch.setattr(picture, "grey", lambda *_: np.zeros(3)[9])
    with pytest.raises(
        UnexpectedError, match=r"a\.mp4: cannot be used \(IndexError: index 9 is out of bounds.*\); check the file"
    ) as excinfo:
        read(path)
    assert isinstance(excinfo.value.__cause__, IndexError)


# Containers


CONTAINERS = [
    *(("flv", "flv1"), ("wmv", "wmv2"), ("mpg", "mpeg2video"), ("mpeg", "mpeg1video"), ("m4v", "libx264"), ("ts", "libx264")),
    *(("3gp", "mpeg4"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("mov", "mjpeg"), ("mkv", "libx265"), ("gif", "gif")),
]


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_container_decodes(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=25)
        stream.width, stream.height = 176, 144
        stream.pix_fmt = {"gif": "gray", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((144, 176, 3), 60 + 4 * index, np.uint8), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    frames, notes = read(path, fps=5)
    assert [frame.time for frame in frames] == [pytest.approx(n / 5, abs=0.011) for n in range(5)]
    assert notes == (["transparency is ignored"] if suffix == "gif" else [])
    levels = [float(np.median(frame.grey)) for frame in frames]
    np.testing.assert_allclose(levels, [60 + 20 * n for n in range(5)], atol=12)


# What is never opened


@pytest.mark.parametrize(
    "name", ["concat:a.mp4|a.mp4", "subfile,,start,0,end,4000,,:a.mp4", "file:a.mp4", "http://127.0.0.1:9/a.mp4", "a.mp4\0"]
)
def test_a_path_is_a_path_and_no_protocol(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path / "a.mp4", [60] * 3)
    monkeypatch.chdir(tmp_path)
    assert "no such file" in refusal(Path(name)) or "null" in refusal(Path(name))


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
    "a.txt": "ffconcat version 1.0\nfile a.ts\n",
    "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "a.sdp": "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_that_leads_to_others_is_not_followed(tmp_path: Path, name: str) -> None:
    video(tmp_path / "a.ts", [60] * 3)
    (tmp_path / name).write_text(PLAYLISTS[name])
    assert "cannot be decoded" in refusal(tmp_path / name)
    (tmp_path / "a.mp4").write_text(PLAYLISTS[name])
    assert "cannot be decoded" in refusal(tmp_path / "a.mp4")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is not a regular file" in refusal(tmp_path / "pipe.mp4")
    assert "is not a regular file" in refusal(Path("/dev/zero"))
    assert "Is a directory" in refusal(tmp_path)
    assert "File name too long" in refusal(tmp_path / ("x" * 300 + ".mp4"))


@pytest.mark.parametrize("name", ["12:30:45.mp4", "a?b#c%41.mp4", "Zoë 김민수.mp4", "-y.mp4", "%03d.mp4", os.fsdecode(b"caf\xe9.mp4")])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path / "a.mp4", [60] * 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name))[0]) == 3


def test_a_limit_on_pixels_and_bytes_holds_before_they_are_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "a.mp4", [60] * 3, size=(64, 96), colours=FULL)
    monkeypatch.setattr(container, "MAX_PIXELS", 64 * 96 - 1)
    assert "pixels, more than" in refusal(path)
    monkeypatch.setattr(container, "MAX_PIXELS", 64 * 96)
    monkeypatch.setattr(container, "MAX_BYTES", path.stat().st_size - 1)
    assert "more than" in refusal(path)


HUGE = """
import re, sys
from pathlib import Path
from vfer.errors import ClipError
from vfer.video.frames import sample
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
try:
    list(sample(Path(sys.argv[1]), 10, 640))
except ClipError as error:
    print(peak() - before)
"""


def test_a_huge_picture_costs_no_memory(tmp_path: Path) -> None:
    """A header that claims 16,000 x 16,000 pixels, in a file of a few hundred bytes."""
    path = video(tmp_path / "a.avi", [60] * 3, codec="mpeg4")
    content = bytearray(path.read_bytes())
    at = content.index(b"strf") + 8
    struct.pack_into("<II", content, at + 4, 16000, 16000)
    path.write_bytes(content)
    movie = tmp_path / "b.mov"
    with av.open(str(movie), "w") as target:
        stream = target.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 12000, 12000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((12000, 12000), np.uint8), format="gray")
        frame.pts = 0
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    for file in (path, movie):
        process = subprocess.run([sys.executable, "-c", HUGE, str(file)], capture_output=True, text=True, check=True)
        assert not process.stdout or int(process.stdout) < 150_000, file  # kilobytes


def test_a_sample_is_the_same_as_the_pipelines(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", range(20, 80), rate=30)
    assert [frame.index for frame in sample(path, 10, 640)] == [frame.index for frame in decode.frames(path, 10, 640)]
