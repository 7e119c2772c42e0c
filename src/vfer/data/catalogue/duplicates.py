"""Find stills that show the same photo in another crop, scale, brightness or compression."""

import hashlib
from collections.abc import Iterator
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue.stills import SIDE, USAGES

Counts = dict[str, dict[str, int]]

MARGIN = 2
"""Most pixels by which two crops of a photo may be shifted against each other."""
SHIFTS = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
"""The other half of a pixel's neighbours need no look, since each pair is looked at from both sides."""
BAND = 16
FLIPS = np.array([sum(1 << bit for bit in bits) for count in range(3) for bits in combinations(range(BAND), count)], np.uint16)
DISTANCE = 11
"""Two hashes of 64 bits that differ in 11 differ in at most 2 of one of their four bands, so that `FLIPS` finds every such pair."""
ALIKE = 0.9
"""Least correlation of two pictures of one photo. Of FER2013's pairs above it 199 of 200 were right, from 0.87 on 56 of 60."""
COMPARED = (("validation", "train"), ("test", "train"), ("test", "validation"), ("train", "train"))


def examine(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], usages: NDArray[np.int64], subjects: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], Counts]:
    """Return which stills, bool (n,), show a photo of the other side too, train or held out, and counts of all stills with a twin.

    `pixels` is uint8 (n, 48, 48); `labels` numbers the expressions, `usages` those of `USAGES`, `subjects` the people, -1 where unknown:
    two different people are no twins unless their pixels are the same. `test_in_train` counts the test stills with a twin in train, and
    so on: those whose pixels are `identical`, those that are only `near`, and among both those that a twin's label is `contradicting`.
    """
    groups = _groups(pixels)
    first = np.unique(groups, return_index=True)[1]
    pairs = near(pixels[first], subjects[first])
    same = np.zeros((len(first), len(USAGES), labels.max(initial=0) + 1), np.int32)
    np.add.at(same, (groups, usages, labels), 1)
    alike = np.zeros_like(same)
    np.add.at(alike, pairs[:, 0], same[pairs[:, 1]])
    np.add.at(alike, pairs[:, 1], same[pairs[:, 0]])
    numbers = {usage: number for number, usage in enumerate(USAGES)}
    in_training = usages == numbers["train"]
    twins = np.asarray((same + alike).any(axis=2))[groups]
    leaking = np.where(in_training, twins[:, [numbers["validation"], numbers["test"]]].any(axis=1), twins[:, numbers["train"]])
    counts = {}
    for usage, other in COMPARED:
        rows = usages == numbers[usage]
        itself = np.eye(same.shape[2], dtype=np.int32)[labels[rows]] * (usage == other)
        counts[f"{usage}_in_{other}"] = _count(
            same[groups[rows], numbers[other]] - itself, alike[groups[rows], numbers[other]], labels[rows]
        )
    return leaking, counts


def _count(same: NDArray[np.int32], alike: NDArray[np.int32], labels: NDArray[np.int64]) -> dict[str, int]:
    identical, similar = same.any(axis=1), same + alike
    others = similar.any(axis=1) & (similar.sum(axis=1) > similar[np.arange(len(labels)), labels])
    return {"identical": int(identical.sum()), "near": int((alike.any(axis=1) & ~identical).sum()), "contradicting": int(others.sum())}


def _groups(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    numbers: dict[bytes, int] = {}
    return np.array(
        [numbers.setdefault(hashlib.blake2b(picture.tobytes(), digest_size=16).digest(), len(numbers)) for picture in pixels], np.int64
    )


def near(pixels: NDArray[np.uint8], subjects: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of pictures that show one photo, sorted row numbers (m, 2), the lower one first; mirror images are not found.

    Candidates are found by a perceptual hash, also of crops a pixel apart, and confirmed by their correlation, best within `MARGIN` pixels.
    """
    keys = np.unique(np.concatenate([_pairs(hashes(pixels, *shift), hashes(pixels)) for shift in SHIFTS]))
    pairs = np.stack(np.divmod(keys, max(1, len(pixels))), axis=1)
    who = subjects[pairs]
    pairs = pairs[(who[:, 0] == who[:, 1]) | (who < 0).any(axis=1)]
    alike = np.array([correlation(pixels[a], pixels[b]) >= ALIKE for a, b in pairs], bool)
    return np.asarray(pairs[alike])


def hashes(pixels: NDArray[np.uint8], down: int = 0, right: int = 0) -> NDArray[np.uint64]:
    """Return the hash of each picture without its margin, as `phash` does, or of a crop that lies so many pixels beside that."""
    inner = SIDE - MARGIN
    return phash(pixels[:, MARGIN + down : inner + down, MARGIN + right : inner + right])


def phash(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return a hash a picture, uint64 (n,), that few bits change under scaling, compression, brightness and contrast.

    `pixels` is uint8 (n, side, side), the side even. A bit says whether one of the 8x8 lowest waves of the cosine transform, but for the
    constant ones, is above their median. Source: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    basis = cv2.dct(np.eye(pixels.shape[1], dtype=np.float32), flags=cv2.DCT_ROWS).T[1:9]
    bits = [np.empty((0, 64), bool)]
    for at in range(0, len(pixels), 4096):
        waves = (basis @ pixels[at : at + 4096].astype(np.float32) @ basis.T).reshape(-1, 64)
        bits.append(waves > np.median(waves, axis=1, keepdims=True))
    return np.packbits(np.concatenate(bits), axis=1).view(np.uint64).ravel()


def _pairs(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the pairs of close hashes of the same n pictures, a number each: the lower row times n plus the higher one."""
    pairs = [np.empty(0, np.int64)]
    for rows, places in close(some, others):
        unlike = rows != places
        pairs.append(np.minimum(rows, places)[unlike] * len(some) + np.maximum(rows, places)[unlike])
    return np.unique(np.concatenate(pairs))


def close(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows of `some` and of `others` whose hashes differ in `DISTANCE` bits at most; a pair may come several times.

    Source: Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", 2012.
    """
    for band in range(0, 64, BAND):
        for rows, places in _meetings((some >> np.uint64(band)).astype(np.uint16), (others >> np.uint64(band)).astype(np.uint16)):
            few = np.bitwise_count(some[rows] ^ others[places]) <= DISTANCE
            yield rows[few], places[few]


def _meetings(bands: NDArray[np.uint16], others: NDArray[np.uint16]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield, a flip at a time, the rows of `bands` and of `others` that are equal after the flip."""
    order = np.argsort(others, kind="stable")
    counts = np.bincount(others, minlength=1 << BAND)
    starts = np.cumsum(counts) - counts
    for flip in FLIPS:
        keys = bands ^ flip
        many = counts[keys]
        rows = np.repeat(np.arange(len(bands)), many)
        yield rows, order[np.arange(len(rows)) + np.repeat(starts[keys] - np.cumsum(many) + many, many)]


def correlation(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the correlation of two pictures, best within `MARGIN` pixels."""
    inner = picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return float(cv2.matchTemplate(other, inner, cv2.TM_CCOEFF_NORMED).max())
