"""The JPEG encoding of stored frames."""

import numpy as np
from numpy.typing import NDArray

from vfer.errors import ClipError


def encode(grey: NDArray[np.uint8], quality: int) -> bytes:
    """Return a grey picture, uint8 (h, w), as JPEG."""
    import cv2

    return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def decode(jpeg: bytes, name: str = "a stored frame") -> NDArray[np.uint8]:
    """Return the grey picture in a JPEG, uint8 (h, w).

    Args:
        jpeg: The content of the file.
        name: What the picture is, for the message of an error.

    Raises:
        ClipError: If it is damaged.
    """
    import cv2

    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ClipError(f"{name} is not a JPEG that can be decoded; run `dvc repro frames`")
    return np.asarray(grey, np.uint8)
