"""Augmentation of 48x48 grey faces: small shifts, turns, zooms and mirrorings, contrast, and erased patches."""

import cv2
import numpy as np
from numpy.typing import NDArray


def augment(images: NDArray[np.uint8], rng: np.random.Generator, strength: float, erasing: float = 0) -> NDArray[np.uint8]:
    """Returns a changed copy of the images, uint8 (n, 48, 48); with strength 0 and no erasing they stay as they are.

    At strength 1: up to 15 degrees, 12 % shift, 15 % zoom, 30 % contrast, brightness 30 of 255. Half of the images are mirrored at
    any strength above 0. The share `erasing` of them gets a patch of up to 40 % of the side erased. Source of the latter: DeVries and
    Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.
    """
    return np.stack([_one(image, rng, strength, erasing) for image in images])


def _one(image: NDArray[np.uint8], rng: np.random.Generator, strength: float, erasing: float) -> NDArray[np.uint8]:
    changed: cv2.typing.MatLike = _moved(image, rng, strength) if strength else image.copy()
    if rng.random() < erasing:
        _erase(changed, rng)
    return changed.astype(np.uint8, copy=False)


def _moved(image: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> cv2.typing.MatLike:
    side = image.shape[0]
    angle, shift_x, shift_y, zoom, contrast, light = rng.uniform(-1, 1, 6) * strength
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), 15 * angle, 1 + 0.15 * zoom)
    matrix[:, 2] += 0.12 * side * np.array([shift_x, shift_y])
    changed = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        changed = cv2.flip(changed, 1)
    return cv2.convertScaleAbs(changed, alpha=1 + 0.3 * contrast, beta=30 * light)


def _erase(image: cv2.typing.MatLike, rng: np.random.Generator) -> None:
    side = image.shape[0]
    height, width = rng.integers(side // 8, int(0.4 * side), 2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    image[top : top + height, left : left + width] = int(image.mean())
