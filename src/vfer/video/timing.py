"""The presentation times of a video's frames, and which of them a sampling takes."""

from array import array
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vfer.video.container import opened

MAX_FRAMES = 5_000_000
"""Frames of a video: 46 hours at 30 a second."""
SLACK = 1e-6  # seconds; times are rounded
BACK = 0.25  # seconds: a time that jumps back so far begins a new recording
JUMP = 10.0  # seconds: so does one that jumps ahead so far in a format for broadcasting, whose clock may be set anew

RESTARTED = "times that start again were continued"
SHORT = "the video ends before its file says"


class Ticks:
    """Takes `fps` frames a second: each one whose time reaches the next tick; without `fps`, every frame."""

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._next = 0

    def take(self, time: float) -> bool:
        """Return whether the next frame, shown at `time` seconds, is taken."""
        if self._fps is None:
            return True
        if time < self._next / self._fps - SLACK:
            return False
        self._next = max(self._next + 1, int(time * self._fps + SLACK) + 1)
        return True


class Clock:
    """Gives frames times in seconds since the first one, which never run back."""

    def __init__(self, rate: float, *, broadcast: bool, notes: Counter[str]) -> None:
        self._step, self._broadcast, self._notes = 1 / rate, broadcast, notes
        self.start = 0.0  # what is added to a time to give the file's own
        self._last: float | None = None

    def __call__(self, frame: VideoFrame) -> float:
        """Return the time of the next frame."""
        stamp = frame.time if frame.time is not None and isfinite(frame.time) else None  # NaN where a damaged file names no time base
        if self._last is None:
            self.start, self._last = stamp or 0.0, 0.0
            return 0.0
        ahead = self._last + self._step
        time = ahead if stamp is None else stamp - self.start
        if time < self._last - BACK or (self._broadcast and time > self._last + JUMP):
            self._notes[RESTARTED] += 1
            self.start += time - ahead
            time = ahead
        self._last = max(time, self._last)
        return self._last


class Order:
    """The presentation times of a video's packets in order, and which of them no tick takes; empty if packets lack them."""

    def __init__(self, times: NDArray[np.int64] | None = None, spare: NDArray[np.bool_] | None = None) -> None:
        self._times = np.empty(0, np.int64) if times is None else times
        self._spare = np.empty(0, np.bool_) if spare is None else spare

    @classmethod
    def of(cls, path: Path, fps: float) -> "Order":
        """Read the packets of a video without decoding them."""
        presented, in_file = array("q"), array("q")
        with opened(path) as (container, stream):
            base = float(stream.time_base or 0)
            for packet in packets(container, stream, Counter()):
                if packet and packet.size and not packet.is_discard:
                    if packet.pts is None or len(presented) > MAX_FRAMES:
                        return cls()
                    presented.append(packet.pts)
                    in_file.append(packet.pts if packet.dts is None else packet.dts)
        times = np.unique(np.array(presented, np.int64))
        if len(times) < max(len(presented), 1) or (np.diff(np.array(in_file, np.int64)) < 0).any():
            return cls()
        ticks = Ticks(fps)
        spare = np.array([not ticks.take((int(time) - int(times[0])) * base) for time in times])
        spare[-1] = False  # it tells how long the video is
        return cls(times, spare)

    def begins(self, time: int | None) -> bool:
        """Return whether a time is the first one."""
        return not len(self._times) or time == self._times[0]

    def place(self, time: int | None, before: int) -> int:
        """Return the number of a frame, from 1, by its time; one more than that of the frame `before` where no times are known."""
        return int(np.searchsorted(self._times, time)) + 1 if len(self._times) and time is not None else before + 1

    def spares(self, time: int | None) -> bool:
        """Return whether no tick takes the frame of a packet."""
        if time is None or not len(self._times):
            return False
        place = int(np.searchsorted(self._times, time))
        return place < len(self._times) and self._times[place] == time and bool(self._spare[place])

    def forget(self) -> None:
        """Empty it."""
        self.__init__()  # type: ignore[misc]


def packets(container: InputContainer, stream: VideoStream, notes: Counter[str]) -> "Iterator[Packet[VideoStream] | None]":
    """Yield the packets of a stream, and at last an empty one or None, which makes the decoder give what it holds back."""
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except IndexError:  # of a stream that appears on the way
            demuxed = container.demux(stream)
        except FFmpegError:
            notes[SHORT] += 1
            yield None
            return
        else:
            yield packet
