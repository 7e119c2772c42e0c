"""A second search of pictures in which a detector finds nothing: smaller and with a border, for faces that fill the picture."""

import numpy as np
from numpy.typing import NDArray

from vfer.faces.detector import Detector

BORDER = 0.5  # of the longer side, on each side: the face is half as large to the detector, or has room around it


class Bordered:
    """A detector that looks twice: where the other finds no face, the picture gets a border of its mean grey."""

    def __init__(self, detector: Detector, score: float) -> None:
        self.name, self.sha256 = detector.name, detector.sha256
        self._detector, self._score = detector, score

    def __call__(self, grey: NDArray[np.uint8], score: float | None = None) -> NDArray[np.float32]:
        """Return the faces, (n, 5) float32, best score first, in pixels of the picture without its border."""
        boxes = self._detector(grey, score)
        if len(boxes) and boxes[0, 4] >= self._score:
            return boxes
        margin = round(BORDER * max(grey.shape))
        again = self._detector(_bordered(grey, margin), score)
        if not len(again) or again[0, 4] < self._score:
            return boxes
        return again - np.array([margin, margin, margin, margin, 0], np.float32)


def _bordered(grey: NDArray[np.uint8], margin: int) -> NDArray[np.uint8]:
    height, width = grey.shape
    picture = np.full((height + 2 * margin, width + 2 * margin), round(float(grey.mean())), np.uint8)
    picture[margin : margin + height, margin : margin + width] = grey
    return picture
