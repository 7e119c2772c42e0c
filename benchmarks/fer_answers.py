"""Answers clips with `fer`, the mean over ten frames a second; it runs in fer's own environment (see peer.py)."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FPS = 10


def main(detector: str, clips_file: str) -> None:
    """Print one line of JSON: an expression a clip, null where no frame shows a face."""
    if detector == "mtcnn":
        import facenet_pytorch  # noqa: F401  # before TensorFlow: triton crashes where TensorFlow was loaded first
    from fer.fer import FER

    recogniser = FER(mtcnn=detector == "mtcnn")
    clips = json.loads(Path(clips_file).read_text())
    sys.stdout.write(json.dumps([_answer(recogniser, clip) for clip in clips]) + "\n")


def _answer(recogniser: Any, clip: str) -> str | None:
    total: dict[str, float] = {}
    for picture, boxes in _pictures(clip):
        faces = recogniser.detect_emotions(picture, face_rectangles=boxes)
        if faces:
            largest = max(faces, key=lambda face: face["box"][2] * face["box"][3])
            for name, share in largest["emotions"].items():
                total[name] = total.get(name, 0) + share
    return max(total, key=lambda name: total[name]) if total else None


def _pictures(clip: str) -> Iterator[tuple[Any, Any]]:
    """Yield pictures in BGR, and where their faces are, if that is known."""
    import cv2
    import numpy as np

    if clip.endswith(".npy"):
        for crop in np.load(clip):
            yield cv2.cvtColor(crop, cv2.COLOR_GRAY2BGR), [(0, 0, crop.shape[1], crop.shape[0])]
        return
    capture = cv2.VideoCapture(clip)
    step, number = max(1, round((capture.get(cv2.CAP_PROP_FPS) or 25) / FPS)), 0
    while True:
        success, picture = capture.read()
        if not success:
            return
        if number % step == 0:
            yield picture, None
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
