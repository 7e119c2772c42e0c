"""Feature cache to training tensors, against `numpy.load` of the same array.

`vfer.features.cache.embeddings` is what `stages.lstm` calls: the embeddings of every clip as float32 arrays. `cache.read` gives all of
the cache. Both use all cores, `numpy.load` one. The file is in the page cache. MB are those of the embeddings, so what else the cache
holds counts against it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row, in_turn, ratios, row
from vfer.features import cache
from vfer.features.cache import Sequence

CLIPS, FRAMES, WIDTH, CLASSES = 4000, 60, 128, 7
FACELESS = 20  # every so many clips has one frame without a face
ROUNDS = 15


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure the three ways in turn, after one round that is not counted."""
    folder = scratch / "run" / "loading"
    folder.mkdir(parents=True, exist_ok=True)
    table, array = folder / "features.parquet", folder / "features.npy"
    cache.write(table, sequences(), {})
    np.save(array, np.concatenate([sequence.embedding for sequence in cache.read(table)]))
    ways: dict[str, Callable[[], object]] = {
        "numpy": lambda: np.load(array),
        "embeddings": lambda: cache.embeddings(table),
        "read": lambda: [sequence.faces for sequence in cache.read(table)],
    }
    tasks = {name: lambda way=way: _seconds(way) for name, way in ways.items()}
    in_turn(tasks, 1)
    result = in_turn(tasks, ROUNDS)
    size = CLIPS * FRAMES * WIDTH * 4 / 1e6
    speed = {name: [size / seconds for seconds in samples] for name, samples in result.items()}
    return [
        row(f"numpy.load, {size:.0f} MB", speed["numpy"], "MB/s"),
        row(f"vfer.features.cache.embeddings, {CLIPS} clips of {FRAMES} frames", speed["embeddings"], "MB/s"),
        row("vfer.features.cache.read and the faces of each clip", speed["read"], "MB/s"),
        row("vfer.features.cache.embeddings, of numpy.load", ratios(speed["embeddings"], speed["numpy"]), "x"),
        row("vfer.features.cache.read, of numpy.load", ratios(speed["read"], speed["numpy"]), "x"),
    ]


def sequences() -> Iterator[Sequence]:
    """Yield random clips."""
    random = np.random.default_rng(0)
    for index in range(CLIPS):
        embedding, probabilities = (random.random((FRAMES, width), np.float32) for width in (WIDTH, CLASSES))
        status = np.array(["detected"] * FRAMES)
        if index % FACELESS == 0:
            status[0], embedding[0], probabilities[0] = "none", 0, 0
        frame = np.arange(FRAMES, dtype=np.int32)
        yield Sequence(f"bench/{index:05d}", frame, frame / 10, status, embedding, probabilities)


def _seconds(way: Callable[[], object]) -> float:
    start = perf_counter()
    value = way()
    took = perf_counter() - start
    del value  # freeing it is not loading
    pa.default_memory_pool().release_unused()  # else the next one would get memory that is mapped already, which numpy never gets
    return took
