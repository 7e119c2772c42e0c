"""Flags for faces whose prediction is doubtful: small, blurred, or turned away."""

import numpy as np
from numpy.typing import NDArray

SMALL = 32.0  # source pixels of a face's shorter side
BLURRED = 0.02  # sharpness of a face crop
TURNED = 35.0  # degrees
FLAGS = ("small", "blurred", "turned")
NOSE = 0.45  # how far the tip of the nose lies before the line between the eyes, as a share of their distance


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return how much of a crop's contrast lies between neighbouring pixels: the variance of its Laplacian over its own variance."""
    import cv2

    grey = crop.astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(float(grey.var()), 1.0))


def yaw(points: NDArray[np.float32]) -> float:
    """Return how far a face is turned aside, in degrees, positive to its left.

    Args:
        points: Eyes, nose and corners of the mouth in the picture, float32 (5, 2), each pair from left to right.

    The tip of the nose is in front of the plane of the eyes, so that turning the head shifts it along the line between them.
    """
    left, right, nose = points[:3].astype(np.float64)
    across = right - left
    length = float(np.hypot(*across))
    if length < 1:
        return 0.0
    shift = float((nose - (left + right) / 2) @ across) / length**2
    return float(np.degrees(np.arctan2(shift, NOSE)))


def flags(size: float, sharp: float, turned: float | None) -> tuple[str, ...]:
    """Return the flags that a face of that size in source pixels, sharpness and yaw raises."""
    raised = size < SMALL, sharp < BLURRED, turned is not None and abs(turned) > TURNED
    return tuple(flag for flag, on in zip(FLAGS, raised, strict=True) if on)
