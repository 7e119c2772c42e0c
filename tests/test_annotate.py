"""Annotated films: their times, their sound, what is drawn and blurred, and what an interrupted run leaves."""

import shutil
import signal
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from interrupt import interrupt
from numpy.typing import NDArray

import vfer
from benchmarks import films
from benchmarks.films import Film, Role, Truth
from vfer.predict.render import annotate, drawing
from vfer.predict.timeline import people as persons
from vfer.video.write import FilmWriter

SIZE, FPS = (320, 240), 12


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    """A film of two people, with sound."""
    rng = np.random.default_rng(5)
    roles = [Role(1, films.walk(rng, 18, FPS, SIZE, 30, 0.27, 0.5), 30, []), Role(2, films.walk(rng, 18, FPS, SIZE, 30, 0.73, 0.5), 30, [])]
    folder = tmp_path_factory.mktemp("film")
    return folder / "film.mp4", Film(SIZE, FPS, [roles], 2).render(folder / "film.mp4")


@pytest.fixture(scope="module")
def timeline(film: tuple[Path, list[Truth]]) -> vfer.Timeline:
    return vfer.load("shipped").timeline(film[0])


def frames(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Return a film's frames, up to where its file ends in the middle of one."""
    pictures = []
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        pictures.extend((float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0))
    return pictures


def packets(path: Path) -> list[list[bytes]]:
    """Return the packets of each audio stream."""
    with av.open(str(path)) as container:
        return [[bytes(packet) for packet in container.demux(stream) if packet.size] for stream in container.streams.audio]


def encode(path: Path, times: list[Fraction], size: tuple[int, int], codec: str) -> Path:
    """Write moving noise at given times."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for moment in times:
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_times_rate_size_and_sound_are_kept(film: tuple[Path, list[Truth]], timeline: vfer.Timeline, tmp_path: Path) -> None:
    annotate.write(timeline, tmp_path / "out.mp4", (), vfer.Span())
    before, after = frames(film[0]), frames(tmp_path / "out.mp4")
    assert [moment for moment, _ in after] == [moment for moment, _ in before]
    assert packets(tmp_path / "out.mp4") == packets(film[0])
    with av.open(str(tmp_path / "out.mp4")) as container:
        [stream] = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", FPS)
        assert (stream.width, stream.height) == SIZE
    content = (tmp_path / "out.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat"), "the index comes first, so that it plays while it loads"


@pytest.mark.parametrize(
    ("times", "size"),
    [
        ([Fraction(n * n, 1000) for n in range(1, 30)], (64, 48)),  # no two frames are as far apart
        ([Fraction(n, 30) for n in range(20)], (65, 47)),
    ],
)
def test_variable_rates_and_odd_sizes_are_kept(times: list[Fraction], size: tuple[int, int], tmp_path: Path) -> None:
    even = (size[0] - size[0] % 2, size[1] - size[1] % 2)
    source = encode(tmp_path / "in.mkv", times, size, "libx264" if size == even else "ffv1")
    before = frames(source)
    with FilmWriter(tmp_path / "out.mp4", source, size) as writer:
        for moment, picture in before:
            writer.add(moment - before[0][0], picture)
    after = frames(tmp_path / "out.mp4")
    assert [moment for moment, _ in after] == pytest.approx([moment - before[0][0] for moment, _ in before], abs=1e-3)
    assert after[0][1].shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)


def sounding(path: Path, codec: str, delay: float) -> Path:
    """Write a second of video with a tone that begins later."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=16000, layout="mono")
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        for number in range(8):
            tone = np.sin(2 * np.pi * 440 * (np.arange(1024) + 1024 * number) / 16000)
            piece = av.AudioFrame.from_ndarray((20000 * tone).astype(np.int16)[None], format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 16000, round(delay * 16000) + 1024 * number, Fraction(1, 16000)
            kind = "s16" if codec.startswith("pcm") else "fltp"
            resampler = av.AudioResampler(format=kind, layout="mono", rate=16000)
            for one in resampler.resample(piece):
                one.pts, one.time_base = piece.pts, piece.time_base
                container.mux(sound.encode(one))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("b.mkv", "pcm_s16le"), ("c.mkv", "libvorbis")])
@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_sound_begins_when_it_did_whatever_its_codec(name: str, codec: str, delay: float, tmp_path: Path) -> None:
    if codec not in av.codec.codecs_available:
        pytest.skip(f"this FFmpeg does not encode {codec}")
    source = sounding(tmp_path / name, codec, delay)

    def onset(path: Path) -> float:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                loud = np.abs(frame.to_ndarray().astype(np.float64)).max()
                if loud > (1000 if frame.format.name.startswith("s16") else 0.03):
                    return float(frame.time or 0)
        raise AssertionError("silence")

    with FilmWriter(tmp_path / "out.mp4", source, (64, 48)) as writer:
        for moment, picture in frames(source):
            writer.add(moment, picture)
    assert onset(tmp_path / "out.mp4") == pytest.approx(onset(source), abs=0.07)


def face_change(film: Path, copy: Path, truth: list[Truth], actor: int) -> float:
    """Return how much the middle of an actor's face differs, in grey levels, over all frames."""
    total = []
    by_frame = {one.frame: one.box for one in truth if one.actor == actor}
    for number, ((_, before), (_, after)) in enumerate(zip(frames(film), frames(copy), strict=True)):
        x0, y0, x1, y1 = (round(value) for value in by_frame[number])
        width, height = (x1 - x0) // 4, (y1 - y0) // 4
        part = np.s_[y0 + height : y1 - height, x0 + width : x1 - width]
        total.append(np.abs(before[part].astype(int) - after[part]).mean())
    return float(min(total))


def test_faces_are_blurred_in_every_frame_or_not_at_all(film: tuple[Path, list[Truth]], timeline: vfer.Timeline, tmp_path: Path) -> None:
    path, truth = film
    changes = {}
    for blur in ((), ("all",), ("P2",), ("others",)):
        annotate.write(timeline, tmp_path / "out.mp4", blur, vfer.Span())
        changes[blur] = [face_change(path, tmp_path / "out.mp4", truth, actor) > 4 for actor in (1, 2)]
    assert changes == {(): [False, False], ("all",): [True, True], ("P2",): [False, True], ("others",): [False, False]}
    entries = [persons.PersonEntry("Zoë", True, timeline.people[0].anchor)]
    other = vfer.load("shipped").timeline(path, vfer.TimelineOptions(entries=entries))
    annotate.write(other, tmp_path / "out.mp4", ("others",), vfer.Span())
    assert [face_change(path, tmp_path / "out.mp4", truth, actor) > 4 for actor in (1, 2)] == [True, False]


def test_a_blurred_face_cannot_be_restored() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    before = picture.copy()
    drawing.blur(picture, np.array([30, 30, 70, 70], np.float32), 0.25)
    part = picture[25:75, 25:75].reshape(-1, 3)
    assert len(np.unique(part, axis=0)) < len(part)
    assert np.linalg.matrix_rank(picture[22:78, 22:78, 0].astype(float), tol=20) <= 2 * drawing.CELLS
    assert (picture[:18] == before[:18]).all()


@pytest.mark.parametrize("text", ["Zoë", "Ольга", "علي", "P1: happy"])
def test_names_in_other_scripts_are_drawn(text: str) -> None:
    picture = np.zeros((60, 300, 3), np.uint8)
    drawing.label(picture, text, (10, 50), 24, (255, 255, 255), (0, 0, 90))
    missing = np.zeros_like(picture)
    drawing.label(missing, "\U0010ffff" * len(text), (10, 50), 24, (255, 255, 255), (0, 0, 90))
    assert (picture[..., 0] > 128).sum() > 50
    assert not np.array_equal(picture, missing)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_a_film_that_plays(stop: signal.Signals, film: tuple[Path, list[Truth]], tmp_path: Path) -> None:
    """The film is many times as long as what may wait in the encoder."""
    long, times = tmp_path / "long.mp4", 20
    repeat(film[0], long, times)
    command = ["timeline", str(long), "--annotate", "out.mp4", "--every", "12", "--model", "shipped"]
    output = tmp_path / "out.mp4"
    _, stderr = interrupt(command, tmp_path, lambda _: output.exists() and output.stat().st_size > 30_000, stop)
    assert "Traceback" not in stderr
    pictures = frames(output)
    assert 20 < len(pictures) < 18 * times
    assert pictures[-1][1].std() > 5


def repeat(source: Path, path: Path, times: int) -> None:
    shutil.copy(source, path)
    with av.open(str(path), "w") as target:
        stream = None
        for turn in range(times):
            with av.open(str(source)) as container:
                original = container.streams.video[0]
                stream = stream or target.add_stream_from_template(original)
                for packet in container.demux(original):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + turn * original.duration, packet.dts + turn * original.duration
                        packet.stream = stream
                        target.mux(packet)
