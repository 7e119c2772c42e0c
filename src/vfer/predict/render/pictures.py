"""Small pictures of faces, for reports."""

import numpy as np
from numpy.typing import NDArray

SIDE = 96
WIDER = 1.5  # how much of the picture around a face is shown, as a multiple of its box
QUALITY = 80


def thumbnail(grey: NDArray[np.uint8], box: NDArray[np.float32]) -> bytes:
    """Return a JPEG of 96x96 pixels of a face, whose box is float32 (4,), and a little around it."""
    import cv2

    x0, y0, x1, y1 = (float(value) for value in box)
    reach = max(WIDER * max(x1 - x0, y1 - y0), 1.0)
    scale = reach / SIDE
    corner = (x0 + x1 - reach) / 2 + scale / 2, (y0 + y1 - reach) / 2 + scale / 2
    grid = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    picture = cv2.warpAffine(grey, grid, (SIDE, SIDE), flags=way | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
