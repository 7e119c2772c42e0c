"""Split a video into its shots at the cuts that PySceneDetect's adaptive detector finds in our own grey frames."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

SIDE = 96  # pixels of the longer side in which frames are compared
LEAST = 15.0  # grey levels by which a frame differs from the one before, in the mean, at a cut; the detector's default
BRIEF = 0.3  # seconds; a shorter shot is a flash


class Timed(Protocol):
    """A grey picture, uint8 (h, w), with its time in seconds."""

    @property
    def time(self) -> float:
        """Seconds."""
        ...

    @property
    def grey(self) -> NDArray[np.uint8]:
        """Pixels."""
        ...


T = TypeVar("T", bound=Timed)


def shots(frames: Iterable[T], rate: float) -> Iterator[tuple[int, T]]:
    """Yield frames with the number of their shot, from 0; two frames later than they come.

    Args:
        frames: Successive frames of one video.
        rate: Frames a second.
    """
    waiting: deque[T] = deque()
    cuts = Cuts(rate)
    shot = 0
    for frame in frames:
        waiting.append(frame)
        if cuts.add(small(frame.grey)):
            cut = len(waiting) - 1 - cuts.delay
            for _ in range(cut):
                yield shot, waiting.popleft()
            shot += 1
        while len(waiting) > cuts.delay:
            yield shot, waiting.popleft()
    for frame in waiting:
        yield shot, frame


def several(pictures: Iterable[NDArray[np.uint8]], rate: float) -> bool:
    """Return whether small pictures of one video, as `small` makes them, show more than one shot.

    The detector takes a third of a second to import, so it is asked only where two neighbours differ as much as at a cut.
    """
    window = list(pictures)
    steps = (float(np.abs(after.astype(np.int16) - before).mean()) for before, after in pairwise(window))
    if not any(step >= LEAST for step in steps):
        return False
    cuts = Cuts(rate)
    return any(cuts.add(picture) for picture in window)


def small(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture shrunk to where cuts are looked for, uint8."""
    import cv2

    scale = min(1.0, SIDE / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


class Cuts:
    """PySceneDetect's adaptive detector: a cut differs from its neighbourhood, as camera movements do not.

    Source: `AdaptiveDetector` of PySceneDetect 0.7.
    """

    delay = 2  # frames after a cut until it is known

    def __init__(self, rate: float) -> None:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector

        self._timecode = FrameTimecode
        self._detector = AdaptiveDetector(
            min_scene_len=max(1, round(BRIEF * rate)), window_width=self.delay, min_content_val=LEAST, luma_only=True
        )
        self._count = 0

    def add(self, picture: NDArray[np.uint8]) -> bool:
        """Take the next small picture; return whether the picture `delay` before it begins a shot."""
        import cv2

        at = self._timecode(self._count, 25.0)  # counted in frames, so any rate will do
        self._count += 1
        return bool(self._detector.process_frame(at, cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)))
