"""Write a film frame by frame at the times of another, with its sound: H.264 in an MP4 that plays however the run ends."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from numpy.typing import NDArray

from vfer.errors import ClipError
from vfer.files import replacing
from vfer.video.container import opened, reason
from vfer.video.decode import decoded

FINEST = Fraction(1, 200_000)  # seconds; a finer unit of time is no use to players
COMMON = Fraction(1, 90_000)
COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""Codecs whose packets an MP4 takes as they are; sound in others is encoded again, as AAC."""
AAC_FRAME = 1024  # samples
BACK = 0.25  # seconds: a time that jumps back so far begins a new recording, and is continued
FRAGMENTS = "frag_keyframe+delay_moov+default_base_moof"
UNITS = {"movie_timescale": "90000"}  # the unit of a stream's delay
BT709 = 1
KEY_FRAMES = 48  # frames between two, at most: what a run that is killed may lose


class FilmWriter:
    """Writes a film in fragments, so that what is there can always be played, and puts it in order once it is complete.

    Args:
        path: The film to write.
        source: The video whose sound it gets, and whose times its frames have.
        size: Width and height of the frames; an odd one grows by a pixel.
        start: Seconds of the source at which the film begins.
        end: Seconds at which it ends; None for the source's end.
        comment: The comment in the file's metadata.
    """

    def __init__(
        self, path: Path, source: Path, size: tuple[int, int], start: float = 0.0, end: float | None = None, comment: str = ""
    ) -> None:
        self.path = path
        self._start = start
        with opened(source) as (_, stream):
            unit = Fraction(stream.time_base or COMMON)
            rate = Fraction(stream.average_rate or 25)
        self._unit = unit if unit >= FINEST else COMMON
        self._size = tuple(side + side % 2 for side in size)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": FRAGMENTS, **UNITS})
        self._container.metadata["comment"] = comment
        options = {"preset": "veryfast", "crf": "20", "profile": "high", "g": str(KEY_FRAMES), "bf": "0"}
        self._video: Any = self._container.add_stream("libx264", rate=rate, options=options)
        self._video.width, self._video.height = self._size
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = self._video.codec_context.time_base = self._unit
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(self._video.codec_context, name, BT709)
        self._sounds = [_Sound(self._container, source, number, start, end) for number in _audio(source)]

    def __enter__(self) -> "FilmWriter":
        return self

    def add(self, time: float, rgb: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 (h, w, 3), that the source shows at `time` seconds, and the sound up to it."""
        height, width = rgb.shape[:2]
        if (width, height) != self._size:
            rgb = np.pad(rgb, ((0, self._size[1] - height), (0, self._size[0] - width), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p", dst_colorspace=BT709)
        frame.pts, frame.time_base = round((time - self._start) / self._unit), self._unit
        self._container.mux(self._video.encode(frame))
        for sound in self._sounds:
            sound.until(time - self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.mux(self._video.encode(None))
        for sound in self._sounds:
            sound.until(None if error is None else 0.0)
            sound.close()
        self._container.close()
        if error is None:
            _in_order(self.path)


def _audio(source: Path) -> list[int]:
    """Return the numbers of a video's audio streams that can be read."""
    with opened(source) as (container, _):
        return [stream.index for stream in container.streams.audio if stream.codec_context is not None]


def _in_order(path: Path) -> None:
    """Write a fragmented film again with its index at the front, without encoding it."""
    with (
        replacing(path) as temporary,
        av.open(str(path)) as source,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart", **UNITS}) as target,
    ):
        target.metadata.update(source.metadata)
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)


def _layout(audio: AudioStream) -> str:
    """Return the arrangement of a stream's channels; of more than two, a mix of them."""
    return "mono" if audio.codec_context.channels == 1 else "stereo"


class _Sound:
    """One audio stream of the source on its way into the film: its packets, or, where an MP4 does not take them, AAC."""

    def __init__(self, container: Any, source: Path, number: int, start: float, end: float | None) -> None:
        self._stack = opened(source)
        self._opened, _ = self._stack.__enter__()
        audio: AudioStream = self._opened.streams[number]  # type: ignore[assignment]
        first = next(decoded(source))
        self._zero = float(first.frame.time or 0.0) + start
        self._last = -np.inf
        self._end = None if end is None else end - start
        self._container, self._waiting = container, deque[tuple[float, Any]]()
        self._copied = audio.codec_context.name in COPIED
        if self._copied:
            self.stream: Any = container.add_stream_from_template(audio)
        else:
            self.stream = container.add_stream("aac", rate=audio.codec_context.sample_rate, layout=_layout(audio))
        self._packets = self._copies(audio) if self._copied else self._encoded(audio)

    def until(self, time: float | None) -> None:
        """Write the packets up to a time of the film; None for all that are left."""
        while time is None or not self._waiting or self._waiting[0][0] <= time:
            if self._waiting:
                self._container.mux(self._waiting.popleft()[1])
            following = next(self._packets, None)
            if following is None:
                return
            self._waiting.append(following)

    def close(self) -> None:
        """Close the source."""
        self._stack.__exit__(None, None, None)

    def _copies(self, audio: AudioStream) -> Iterator[tuple[float, Any]]:
        base = float(audio.time_base or COMMON)
        for packet in self._demuxed(audio):
            if packet.pts is None or packet.dts is None:
                continue
            time = self._moved(packet.pts * base)
            if self._end is not None and time >= self._end:
                return
            if time + float(packet.duration or 0) * base > 0 or self._zero == 0:
                shift = round(time / base) - packet.pts
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, self.stream
                yield time, packet

    def _encoded(self, audio: AudioStream) -> Iterator[tuple[float, Any]]:
        rate = audio.codec_context.sample_rate
        resampler = av.AudioResampler(format="fltp", layout=_layout(audio), rate=rate, frame_size=AAC_FRAME)
        at: int | None = None
        for packet in self._demuxed(audio):
            try:
                decoded_frames = packet.decode()
            except FFmpegError:
                continue
            for frame in decoded_frames:
                time = self._moved(frame.time or 0.0)
                if self._end is not None and time >= self._end:
                    break
                if time < 0:
                    continue
                at = round(time * rate) if at is None else at
                frame.pts = None  # samples are counted from the first on
                for piece in resampler.resample(frame):
                    piece.pts, piece.time_base = at, Fraction(1, rate)
                    at += piece.samples
                    yield from ((at / rate, encoded) for encoded in self.stream.encode(piece))
        if at is not None:
            yield from ((np.inf, encoded) for encoded in self.stream.encode(None))

    def _demuxed(self, audio: AudioStream) -> Iterator[Any]:
        packets = self._opened.demux(audio)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except (FFmpegError, IndexError) as error:
                raise ClipError(f"{self._opened.name}: its sound cannot be read ({reason(error)})") from error

    def _moved(self, time: float) -> float:
        """Return a time of the source as one of the film; time that start again are continued."""
        moved = time - self._zero
        if moved < self._last - BACK:
            self._zero -= self._last - moved
            moved = self._last
        self._last = max(self._last, moved)
        return moved
