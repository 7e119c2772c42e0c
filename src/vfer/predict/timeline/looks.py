"""Describe the appearance of a face, to tell people apart within one video; it is never written out, and useless across cameras."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

GRID = 4
BINS = 59
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
LOOKS = GRID * GRID * BINS
"""Numbers in a description."""


def _uniform() -> NDArray[np.uint8]:
    """Return the bin of each of 256 patterns: its own for those that change at most twice around the circle, one for all others."""
    turns = [sum((code >> bit & 1) != (code >> (bit + 1) % 8 & 1) for bit in range(8)) for code in range(256)]
    bins = iter(range(BINS - 1))
    return np.array([next(bins) if turn <= 2 else BINS - 1 for turn in turns], np.uint8)


PATTERNS = _uniform()


def describe(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the histograms of uniform local binary patterns in the cells of a face crop of 48x48 pixels, uint8 (944,).

    Source: Ahonen, Hadid and Pietikäinen, "Face Description with Local Binary Patterns", 2006.
    """
    height, width = crop.shape[0] - 2, crop.shape[1] - 2
    middle = crop[1:-1, 1:-1]
    code = np.zeros((height, width), np.uint8)
    for bit, (down, right) in enumerate(NEIGHBOURS):
        code |= (crop[1 + down : 1 + down + height, 1 + right : 1 + right + width] >= middle).astype(np.uint8) << bit
    cells = (np.arange(height) * GRID // height)[:, None] * GRID + np.arange(width) * GRID // width
    return np.bincount((cells * BINS + PATTERNS[code]).ravel(), minlength=LOOKS).astype(np.uint8)


def likeness(first: Sequence[NDArray[np.uint8]], second: Sequence[NDArray[np.uint8]]) -> float:
    """Return how alike two faces are, each described in some frames: the mean of the most alike quarter of all pairs, 1 at most."""
    one, other = (_rooted(described) for described in (first, second))
    alike = np.sort((one @ other.T).ravel())[::-1]
    return float(alike[: -(-len(alike) // 4)].mean())


def _rooted(described: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    counts = np.stack(described).astype(np.float32)
    return np.asarray(np.sqrt(counts / counts.sum(axis=1, keepdims=True)), np.float32)


class Sample(Generic[T]):
    """At most `most` of the things that come, evenly spread over all of them."""

    def __init__(self, most: int) -> None:
        self._most, self._every, self._count = most, 1, 0
        self.items: list[T] = []

    def add(self, make: Callable[[], T]) -> None:
        """Count one more thing, and make it where it is to be kept."""
        if self._count % self._every == 0:
            if len(self.items) == self._most:
                del self.items[1::2]
                self._every *= 2
            if self._count % self._every == 0:
                self.items.append(make())
        self._count += 1
