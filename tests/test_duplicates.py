"""Stills that show one photo: what is found, what is not, and how they are counted."""

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.data.catalogue import duplicates
from vfer.data.catalogue.duplicates import examine, near, phash
from vfer.data.catalogue.stills import grey

Pictures = NDArray[np.uint8]
TRAIN, VALIDATION, TEST = range(3)


def photos(n: int, seed: int = 0, side: int = 56) -> Pictures:
    """Pictures with the spectrum of photographs, larger than a still, so that crops of them can be taken."""
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    noise = np.fft.fft2(rng.normal(size=(n, side, side))) / np.maximum(waves, 1 / side) ** 1.2
    fields = np.real(np.fft.ifft2(noise))
    fields = (fields - fields.mean((1, 2), keepdims=True)) / fields.std((1, 2), keepdims=True)
    return np.clip(128 + 50 * fields, 0, 255).astype(np.uint8)


def crop(picture: Pictures, down: int = 4, right: int = 4) -> Pictures:
    return np.ascontiguousarray(picture[down : down + 48, right : right + 48])


def jpeg(picture: Pictures, quality: int) -> Pictures:
    result = grey(bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]))
    assert result is not None
    return result


CHANGES = {
    "compressed": lambda photo: jpeg(crop(photo), 50),
    "brighter, less contrast": lambda photo: cv2.convertScaleAbs(crop(photo), alpha=0.6, beta=70),
    "resized": lambda photo: cv2.resize(cv2.resize(crop(photo), (30, 30), interpolation=cv2.INTER_AREA), (48, 48)),
    "a pixel off": lambda photo: crop(photo, 5, 3),
    "two pixels off, compressed": lambda photo: jpeg(crop(photo, 4, 6), 70),
    "enlarged": lambda photo: cv2.resize(np.ascontiguousarray(photo[5:51, 5:51]), (48, 48), interpolation=cv2.INTER_LINEAR),
}


def unknown(n: int) -> NDArray[np.int64]:
    return np.full(n, -1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_photo_is_known_again_after_a_small_change(change: str) -> None:
    originals = photos(200)
    pixels = np.stack([crop(photo) for photo in originals] + [CHANGES[change](photo) for photo in originals])
    assert len({picture.tobytes() for picture in pixels}) == 400
    pairs = near(pixels, unknown(400))
    assert {tuple(pair) for pair in pairs} <= {(i, i + 200) for i in range(200)}
    assert len(pairs) >= (0.7 if change == "enlarged" else 0.9) * 200


def test_different_photos_are_not_paired_and_neither_are_mirror_images() -> None:
    pixels = np.stack([crop(photo) for photo in photos(2000)])
    assert near(pixels, unknown(2000)).shape == (0, 2)
    both = np.concatenate([pixels[:100], pixels[:100, :, ::-1]])
    assert near(both, unknown(200)).shape == (0, 2)


def test_pictures_alike_in_the_large_alone_are_no_pair() -> None:
    large = np.stack([crop(photo) for photo in photos(100)])
    grain = np.random.default_rng(1).normal(0, 60, (200, 48, 48))
    grain -= np.stack([cv2.GaussianBlur(noise, (0, 0), 2) for noise in grain])
    pixels = np.clip(np.concatenate([large, large]) + grain, 0, 255).astype(np.uint8)
    close = np.bitwise_count(phash(pixels[:100]) ^ phash(pixels[100:])) <= duplicates.DISTANCE
    assert close.sum() > 30
    assert len(near(pixels, unknown(200))) < 0.1 * close.sum()


def test_different_people_are_no_pair_however_alike() -> None:
    photo = photos(1)[0]
    pixels = np.stack([crop(photo), jpeg(crop(photo), 60), jpeg(crop(photo), 40)])
    assert near(pixels, np.array([0, 0, 1])).tolist() == [[0, 1]]
    assert near(pixels, np.array([0, -1, 1])).tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_pictures_have_no_pairs(n: int) -> None:
    pixels = np.stack([crop(photo) for photo in photos(3)])[:n]
    assert near(pixels, unknown(n)).shape == (0, 2)
    leaking, counts = examine(pixels, np.zeros(n, np.int64), np.zeros(n, np.int64), unknown(n))
    assert leaking.tolist() == [False] * n
    assert not any(number for row in counts.values() for number in row.values())


def test_the_index_finds_exactly_the_hashes_within_the_distance() -> None:
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**64, 1500, dtype=np.uint64)
    for row in range(0, 1500, 3):  # its neighbours differ from it in 0 to 20 bits
        for other in (row + 1, row + 2):
            bits = rng.choice(64, int(rng.integers(0, 21)), replace=False)
            hashes[other] = hashes[row] ^ np.bitwise_xor.reduce(np.left_shift(np.uint64(1), bits.astype(np.uint64)), initial=np.uint64(0))
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(distance <= duplicates.DISTANCE, k=1))
    result = np.stack(np.divmod(duplicates._pairs(hashes, hashes), 1500), axis=1)
    assert len(expected) > 500
    np.testing.assert_array_equal(result, expected)


def test_the_hash_ignores_brightness_and_contrast_and_tells_photos_apart() -> None:
    pixels = np.stack([crop(photo) for photo in photos(300)])
    softer = np.stack([cv2.convertScaleAbs(picture, alpha=0.5, beta=60) for picture in pixels])
    assert np.bitwise_count(phash(pixels) ^ phash(softer)).mean() < 2
    assert 28 < np.bitwise_count(phash(pixels)[:150] ^ phash(pixels)[150:]).mean() < 36


def test_stills_are_counted_by_usage_kind_and_label() -> None:
    a, b, c, d, e = photos(5)
    rows = [
        (crop(a), 0, TRAIN),  # looks like the test still
        (crop(a), 0, TRAIN),  # the same pixels once more
        (jpeg(crop(a), 60), 1, TEST),  # labelled otherwise
        (crop(b), 0, VALIDATION),
        (crop(b), 0, TRAIN),  # the same pixels as the validation still
        (jpeg(crop(b), 60), 0, TEST),  # near both
        (crop(c), 0, TRAIN),
        (crop(c), 1, TRAIN),  # contradicts, inside train
        (jpeg(crop(c), 60), 1, TRAIN),
        (crop(d), 0, TRAIN),  # alone
        (crop(e), 1, TEST),  # alone
    ]
    pixels, labels, usages = (np.array(column) for column in zip(*rows, strict=True))
    leaking, counts = examine(pixels, labels, usages, unknown(len(rows)))
    assert np.flatnonzero(leaking).tolist() == [0, 1, 2, 3, 4, 5]
    assert counts == {
        "validation_in_train": {"identical": 1, "near": 0, "contradicting": 0},
        "test_in_train": {"identical": 0, "near": 2, "contradicting": 1},
        "test_in_validation": {"identical": 0, "near": 1, "contradicting": 0},
        "train_in_train": {"identical": 4, "near": 1, "contradicting": 3},
    }
    order = np.random.default_rng(0).permutation(len(rows))
    again, recount = examine(pixels[order], labels[order], usages[order], unknown(len(rows)))
    assert recount == counts
    np.testing.assert_array_equal(again, leaking[order])


def test_identical_pixels_are_twins_whoever_they_are_said_to_show() -> None:
    pixels = np.stack([crop(photos(1)[0])] * 2)
    leaking, counts = examine(pixels, np.zeros(2, np.int64), np.array([TRAIN, TEST]), np.array([0, 1]))
    assert leaking.tolist() == [True, True]
    assert counts["test_in_train"] == {"identical": 1, "near": 0, "contradicting": 0}


def test_many_blank_pictures_cost_nothing_and_are_twins_of_each_other_alone() -> None:
    blank = np.zeros((20_000, 48, 48), np.uint8)
    pixels = np.concatenate([blank, np.stack([crop(photo) for photo in photos(50)])])
    usages = np.full(len(pixels), TRAIN)
    usages[:10] = TEST
    start = time.perf_counter()
    leaking, counts = examine(pixels, np.zeros(len(pixels), np.int64), usages, unknown(len(pixels)))
    assert time.perf_counter() - start < 5
    assert leaking[:20_000].all()
    assert not leaking[20_000:].any()
    assert counts["test_in_train"] == {"identical": 10, "near": 0, "contradicting": 0}
