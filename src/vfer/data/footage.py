"""Find clips that show the same footage in other bytes, such as copies that were re-encoded, scaled down or trimmed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from vfer.data.catalogue import duplicates
from vfer.data.catalogue.duplicates import SHIFTS
from vfer.faces.table import SIDE, Faces, evenly

KEYS = 10
"""Most crops of a clip that are looked for in another one."""
FEWEST = 3
"""Least of them that must be there."""
HINTED = 0.3
"""Share of a test clip's keys that must have a crop of a close hash in another clip, so that the two are compared."""
COMPARED = 3
"""Clips of the most hints that a test clip is compared with."""
SHARED = 2 / 3
"""Share of the shorter clip's keys beside which the other clip must have a crop, at one offset in time."""
BESIDE = 0.06
"""Most seconds between a key and the crop beside it: half a step at 10 frames a second, and a little."""
ALIKE = 0.925
"""Least mean correlation of the keys with the crops beside them."""
TIMELY, TIMELY_WITHIN = 0.4, 0.16
"""Share of the keys whose most alike crop must be so many seconds from that offset at most: other takes of a person fit anywhere."""
INNER = 4
"""Pixels of a key's margin that are not compared."""
SIZES = tuple(product((38, 40, 42), repeat=2))
"""Width and height to which the rest of a key, 40 pixels, is scaled, since a detector's boxes differ by so much between encodings."""


@dataclass(frozen=True)
class Footage:
    """The n crops of a clip that show the face, uint8 (n, 48, 48), with their `time`, float64 (n,), increasing, in seconds."""

    time: NDArray[np.float64]
    crops: NDArray[np.uint8]

    @classmethod
    def of(cls, faces: Faces) -> "Footage":
        """Return the footage in a clip's faces."""
        return cls(faces.time[faces.present], faces.crop[faces.present])

    @property
    def keys(self) -> "Footage":
        """At most `KEYS` crops, spread evenly over the clip."""
        rows = evenly(len(self.time), KEYS)
        return Footage(self.time[rows], self.crops[rows])


def copies(test: Iterable[str], seen: Iterable[str], load: Callable[[str], Footage]) -> Iterator[tuple[str, str]]:
    """Yield each test clip of which a clip seen in training shows the same footage, with the most alike of these.

    Candidates have crops whose perceptual hashes are close; `alike` confirms them.

    Args:
        test: The names of the test clips.
        seen: The names of the others.
        load: Returns a clip's footage; only a few are held at once.
    """
    names = sorted(seen)
    hashes_of = [duplicates.hashes(load(name).crops) for name in names]
    owners = np.repeat(np.arange(len(names)), [len(one) for one in hashes_of])
    hashes = np.concatenate([*hashes_of, np.empty(0, np.uint64)])
    load_once = lru_cache(maxsize=64)(load)
    for clip in test:
        footage = load(clip)
        scores = {name: alike(footage, load_once(name)) for name in (names[number] for number in _hinted(footage.keys, owners, hashes))}
        best = max(scores, key=lambda name: (scores[name], name), default="")
        if best and scores[best] >= ALIKE:
            yield clip, best


def _hinted(keys: Footage, owners: NDArray[np.int64], hashes: NDArray[np.uint64]) -> list[int]:
    """Return the numbers of the clips that hold crops close to most of the keys, and to enough of them."""
    hits: set[tuple[int, int]] = set()
    for shift in SHIFTS:
        for rows, places in duplicates.close(duplicates.hashes(keys.crops, *shift), hashes):
            hits.update(zip(owners[places].tolist(), rows.tolist(), strict=True))
    counts = Counter(owner for owner, _ in hits)
    ranked = sorted(counts, key=lambda owner: (-counts[owner], owner))[:COMPARED]
    return [owner for owner in ranked if counts[owner] >= max(FEWEST, HINTED * len(keys.time))]


def alike(one: Footage, other: Footage) -> float:
    """Return how alike two clips are: the mean correlation of crops of the shorter with those of the longer at the same time.

    The offset between the two is the one that fits best. It is 0 if the clips share too little, or where the crops most alike are at
    other times.
    """
    short, long = sorted((one, other), key=lambda footage: len(footage.time))
    keys = short.keys
    if len(keys.time) < FEWEST:
        return 0.0
    table = _correlations(keys.crops, long.crops)
    apart = long.time[None] - keys.time[:, None]
    fits = apart[np.arange(len(keys.time)), table.argmax(axis=1)]
    best = 0.0
    for offset in np.unique(fits.round(2)):
        beside = np.where(np.abs(apart - offset) <= BESIDE, table, -1.0).max(axis=1)
        shared = beside > -1
        timely = np.abs(fits[shared] - offset) <= TIMELY_WITHIN
        if shared.sum() >= max(FEWEST, SHARED * len(keys.time)) and timely.mean() >= TIMELY:
            best = max(best, float(beside[shared].mean()))
    return best


def _correlations(keys: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the correlation of each key with each other crop, best over places and sizes, float64 (keys, others)."""
    table = np.full((len(keys), len(others)), -1.0)
    for row, key in enumerate(keys):
        inner = key[INNER : SIDE - INNER, INNER : SIDE - INNER]
        for size in SIZES:
            scaled = cv2.resize(inner, size, interpolation=cv2.INTER_AREA)
            scores = [cv2.matchTemplate(other, scaled, cv2.TM_CCOEFF_NORMED).max() for other in others]
            table[row] = np.maximum(table[row], scores)
    return table
