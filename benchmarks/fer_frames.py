"""Runs `fer` over every frame of some clips and prints the times; it runs in fer's own environment (see peer.py)."""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

TRIED = 8  # frames on which each number of threads is tried


def main(detector: str, clips: list[str]) -> None:
    """Print one line of JSON."""
    if detector == "mtcnn":
        import facenet_pytorch  # noqa: F401  # before TensorFlow: triton crashes where TensorFlow was loaded first
    import cv2
    from fer.fer import FER

    result = FER(mtcnn=detector == "mtcnn")
    ready = time.time() - float(os.environ["STARTED"])
    threads = _quickest(result, _frames(cv2, clips[:1], TRIED)) if detector == "mtcnn" else cv2.getNumThreads()
    frames = faces = 0
    start = time.time()
    for frame in _frames(cv2, clips):
        faces += bool(result.detect_emotions(frame))
        frames += 1
    loop = time.time() - start
    sys.stdout.write(json.dumps({"ready": ready, "loop": loop, "frames": frames, "faces": faces, "threads": threads}) + "\n")


def _frames(cv2: Any, clips: list[str], most: int | None = None) -> Iterator[Any]:
    for clip in clips:
        capture = cv2.VideoCapture(clip)
        count = 0
        while most is None or count < most:
            success, frame = capture.read()
            if not success:
                break
            count += 1
            yield frame


def _quickest(recogniser: Any, frames: Iterator[Any]) -> int:
    """Set PyTorch's threads to its own choice or to one, whichever is quicker (on busy cores one is); that time is not counted."""
    import torch

    sample = list(frames)
    took: dict[int, float] = {}
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        recogniser.detect_emotions(sample[0])
        start = time.time()
        for frame in sample:
            recogniser.detect_emotions(frame)
        took[threads] = time.time() - start
    best = min(took, key=took.__getitem__)
    torch.set_num_threads(best)
    return best


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
