"""Augmentation of grey faces: they vary as the crops of real videos do.

The ranges cover how detectors frame a face (docs/detectors.md), and how cameras, light and codecs change it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

TURN = np.deg2rad(15)
SHIFT = 0.1  # of the side
ZOOM = 0.22  # natural logarithm of the scale
ASPECT = 0.08  # natural logarithm of the ratio of width to height
GAMMA = 0.7  # natural logarithm of the exponent
CONTRAST, BRIGHTNESS, SIDE_LIGHT = 0.4, 0.15, 0.4
EQUALISED, LIT, SHRUNK, BLURRED, GRAINY, COMPRESSED = 0.12, 0.3, 0.3, 0.25, 0.3, 0.3  # shares of the faces
SMALLEST, LARGEST = 16, 40  # pixels of a shrunk face
BLUR = (0.3, 1.3)  # standard deviation in pixels
GRAIN = (0.005, 0.05)  # standard deviation, of the full range
QUALITY = (15, 75)  # of JPEG


def augment(
    images: Pixels, rng: np.random.Generator, strength: float, erasing: float = 0, mirrored: NDArray[np.bool_] | None = None
) -> Pixels:
    """Return a randomly changed copy of the images.

    At strength 1, a face is turned by up to 15 degrees, shifted by up to 10 % of its side, scaled by 0.8 to 1.25 and stretched by up to
    8 %. Gamma, contrast, brightness and side light vary. Some faces are equalised, shrunk to 16 to 40 pixels,
    blurred, grainy, or compressed.

    Args:
        images: Grey faces, uint8 (n, side, side).
        rng: The only source of randomness.
        strength: Scales ranges and shares, 0 to 1; with 0 and no erasing, the images stay as they are.
        erasing: Share of the faces with an erased patch of up to 40 % of the side. Source: DeVries and Taylor, "Improved
            Regularization of Convolutional Neural Networks with Cutout", 2017.
        mirrored: Which faces are mirrored, bool (n,); by default a random half, at any strength above 0.

    Returns:
        Grey faces of the same shape, uint8.
    """
    if mirrored is None:
        mirrored = rng.random(len(images)) < 0.5 * bool(strength)
    flipped = (image[:, ::-1] if flip else image for image, flip in zip(images, mirrored, strict=True))
    return np.stack([_augment(image, rng, strength, erasing) for image in flipped])


def _augment(image: Pixels, rng: np.random.Generator, strength: float, erasing: float) -> Pixels:
    if strength:
        moved = _move(image, rng, strength)
        if rng.random() < EQUALISED * strength:
            moved = np.asarray(cv2.equalizeHist(moved), np.uint8)
        image = _compress(_degrade(_light(moved, rng, strength), rng, strength), rng, strength)
    return _erase(image, rng) if rng.random() < erasing else image.copy()


def _move(image: Pixels, rng: np.random.Generator, strength: float) -> Pixels:
    side = len(image)
    turn, zoom, stretch, *shift = strength * rng.uniform(-1, 1, 5) * [TURN, ZOOM, ASPECT, SHIFT * side, SHIFT * side]
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * np.exp([zoom + stretch / 2, zoom - stretch / 2])
    centre = np.full(2, (side - 1) / 2)
    grid = np.column_stack([matrix, centre + shift - matrix @ centre])
    return np.asarray(cv2.warpAffine(image, grid, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _light(image: Pixels, rng: np.random.Generator, strength: float) -> Floats:
    """Return the image as float32, 0 to 1 and beyond, under another light."""
    gamma, contrast, brightness = strength * rng.uniform(-1, 1, 3) * [GAMMA, CONTRAST, BRIGHTNESS]
    values = np.asarray((image / np.float32(255)) ** np.exp(gamma) if rng.random() < 0.5 else image / 255, np.float32)
    mean = values.mean()
    values = np.asarray((values - mean) * (1 + contrast) + mean + brightness, np.float32)
    if rng.random() < LIT * strength:
        ramp = np.linspace(-1, 1, len(image), dtype=np.float32)
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, SIDE_LIGHT)
        values *= np.asarray(1 + depth * (np.cos(angle) * ramp + np.sin(angle) * ramp[:, None]), np.float32)
    return values


def _degrade(values: Floats, rng: np.random.Generator, strength: float) -> Pixels:
    """Return the image with the sharpness and the grain of a poor camera, or of a face far away."""
    size = values.shape[::-1]
    if rng.random() < SHRUNK * strength:
        small = int(rng.integers(SMALLEST, LARGEST))
        values = _resize(cv2.resize(values, (small, small), interpolation=cv2.INTER_AREA), size)
    elif rng.random() < BLURRED * strength:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(*BLUR)), np.float32)
    if rng.random() < GRAINY * strength:
        values = values + rng.normal(0, rng.uniform(*GRAIN), values.shape).astype(np.float32)
    return np.asarray(np.clip(values * 255 + 0.5, 0, 255), np.uint8)


def _resize(values: cv2.typing.MatLike, size: tuple[int, ...]) -> Floats:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _compress(image: Pixels, rng: np.random.Generator, strength: float) -> Pixels:
    if rng.random() >= COMPRESSED * strength:
        return image
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))])[1]
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)


def _erase(image: Pixels, rng: np.random.Generator) -> Pixels:
    side = len(image)
    height, width = rng.integers(side // 8, int(0.4 * side), 2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    erased = image.copy()
    erased[top : top + height, left : left + width] = int(image.mean())
    return erased
