"""Encode frames as small H.264 files whose bytes depend on the frames alone."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 16000
CHUNK = 1024
TONE, LOUDNESS = 220.0, 0.02


class Writer:
    """Writes one MP4, frame by frame, beside its place and moves it there at the end; `sound` adds a soft tone."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, *, crf: int, sound: bool) -> None:
        import av

        self.path, self.temporary, self.fps, self.count, self.heard = path, path.with_suffix(".tmp"), fps, 0, 0
        self.container = av.open(str(self.temporary), "w", format="mp4", options={"fflags": "+bitexact"})
        preset = "slower" if size[1] < 400 else "veryfast"  # the small ones live in a repository, the large ones must be quick
        options = {"crf": str(crf), "preset": preset, "x264-params": "threads=1"}  # several threads give other bytes
        self.picture = self.container.add_stream("libx264", rate=fps, options=options)
        self.picture.width, self.picture.height = size
        self.picture.pix_fmt = "yuv420p"
        self.picture.codec_context.thread_count = 1
        self.sound: Any = self.container.add_stream("aac", rate=RATE, layout="mono", bit_rate=8000) if sound else None
        for stream in filter(None, (self.picture, self.sound)):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact

    def __enter__(self) -> "Writer":
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 RGB, and the sound up to its end."""
        import av

        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.count, Fraction(1, self.fps)
        self.container.mux(self.picture.encode(picture))
        self.count += 1
        while self.sound and self.heard * self.fps < self.count * RATE:
            self._hear()

    def _hear(self) -> None:
        import av

        times = np.arange(self.heard, self.heard + CHUNK) / RATE
        tone = (LOUDNESS * np.sin(2 * np.pi * TONE * times)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.heard, Fraction(1, RATE)
        self.container.mux(self.sound.encode(frame))
        self.heard += CHUNK

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            for stream in filter(None, (self.picture, self.sound)):
                self.container.mux(stream.encode(None))
        self.container.close()
        if error is None:
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink(missing_ok=True)
