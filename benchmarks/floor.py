"""The least work that the same clips take on the same cores: decoding alone, and decoding with the detector alone."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

from vfer.faces import weights
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.video.frames import sample

MAX_SIDE = 640
Span = tuple[float, float]


class _Worker:
    detector: Detector | None = None

    @classmethod
    def start(cls, name: str | None, folder: Path, barrier: Barrier) -> None:
        import av  # noqa: F401  # loaded before the clock runs
        import cv2

        cv2.setNumThreads(1)
        if name:
            params = FacesParams.model_validate({"detector": name})
            cls.detector = weights.choose(params, folder).load(params)
        barrier.wait()


def seconds(clips: Sequence[Path], detector: str | None, folder: Path, workers: int) -> float:
    """Return the wall time without any start-up of decoding every frame (luma), and of the detector on each where one is named."""
    context = multiprocessing.get_context("spawn")
    arguments = (detector, folder, context.Barrier(workers))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_Worker.start, initargs=arguments) as pool:
        spans = list(pool.map(_work, clips))
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _work(clip: Path) -> Span:
    start = time.monotonic()
    if _Worker.detector:
        for frame in sample(clip, 1000, MAX_SIDE):
            _Worker.detector(frame.grey)
    else:
        _decode(clip)
    return start, time.monotonic()


def _decode(clip: Path) -> None:
    import av

    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            memoryview(frame.planes[0])
