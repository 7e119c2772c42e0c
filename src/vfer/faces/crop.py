"""Cut the 48x48 face out of a picture."""

import numpy as np
from numpy.typing import NDArray

from vfer.faces.table import SIDE


def crop(grey: NDArray[np.uint8], box: NDArray[np.float32], margin: float) -> NDArray[np.uint8]:
    """Return the square around a box (x0, y0, x1, y1), `1 + margin` times its larger side, as (48, 48) uint8.

    Where the square leaves the picture, the picture's edge is repeated.
    """
    x0, y0, x1, y1 = (float(value) for value in box[:4])
    side = max(1, round((1 + margin) * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    if left >= 0 and top >= 0 and left + side <= grey.shape[1] and top + side <= grey.shape[0]:
        return resize(grey[top : top + side, left : left + side])
    rows = np.clip(np.arange(top, top + side), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, grey.shape[1] - 1)
    return resize(grey[np.ix_(rows, columns)])


def resize(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a whole picture to (48, 48): means of areas where it shrinks, linear where it grows."""
    import cv2

    way = cv2.INTER_AREA if min(grey.shape) >= SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=way), np.uint8)
