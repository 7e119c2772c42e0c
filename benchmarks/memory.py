"""Peak memory of a stage against the number of clips and against their length.

The sum of the resident sizes of the stage's process and its workers, looked at 50 times a second; what they share counts for each.
Number: short clips (160x120, 0.6 s; sequences of 20 frames for `lstm` and `evaluate`). Length: one clip of 320x240 and 25 frames a
second (for `lstm` and `evaluate` 56 sequences, of 10 frames a second). `frames`, `faces` and `features` work clip by clip and should
stay flat. `lstm` and `evaluate` hold the embeddings of all clips.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import clips, model
from benchmarks.repository import TO_FEATURES, Repository
from benchmarks.rows import Goal, Row, row
from vfer.features import cache

NUMBERS = (50, 200, 800)
LENGTHS = (30, 60, 240)  # seconds; the shortest fills a batch of `features`
KIND = clips.Kind((320, 240), 10.0, 25)
FRAMES, WIDTH, CLASSES = 20, 128, 7
LONG = 56  # clips of the caches of long ones
RATE = 10  # frames a second of those
MOST = 1.2  # of the largest to the smallest
TRAINED = ("lstm", "evaluate")


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure every stage once at each number and each length."""
    folder, cache, cnn = scratch / "run" / "memory", scratch / "cache", model.build(scratch)
    by_number = {number: clips.render(cache, clips.SHORT, number) for number in NUMBERS}
    by_length = {seconds: [clips.long(cache, KIND, round(seconds / KIND.seconds))] for seconds in LENGTHS}
    mapping_peaks = {
        "clips": {number: mapping(folder, sources, cnn) for number, sources in by_number.items()},
        "s": {seconds: mapping(folder, sources, cnn) for seconds, sources in by_length.items()},
    }
    training_peaks = {
        "clips": {number: training(folder, [FRAMES] * number) for number in NUMBERS},
        "s": {seconds: training(folder, [seconds * RATE] * LONG) for seconds in LENGTHS},
    }
    rows = []
    for stages, by_unit, goal in ((TO_FEATURES, mapping_peaks, Goal(most=MOST)), (TRAINED, training_peaks, None)):
        for stage in stages:
            for unit, peaks in by_unit.items():
                rows += stage_rows(stage, unit, {size: peak[stage] for size, peak in peaks.items()}, goal)
    return rows


def stage_rows(stage: str, unit: str, peaks: Mapping[int, float], goal: Goal | None) -> list[Row]:
    """Return a stage's rows: one a size, and the largest size's memory as a multiple of the smallest size's."""
    few, many = min(peaks), max(peaks)
    rows = [row(f"{stage}: {size} {unit}", [peak], "MB") for size, peak in peaks.items()]
    return [*rows, row(f"{stage}: {many} {unit}, of {few} {unit}", [peaks[many] / peaks[few]], "x", goal)]


def mapping(root: Path, sources: Sequence[Path], cnn: Path) -> dict[str, float]:
    """Return the peaks of the stages that work clip by clip."""
    repository = Repository.new(root, sources, cnn)
    repository.set("faces", max_faceless=1)
    return {stage: repository.peak_memory(stage) for stage in TO_FEATURES}


def training(root: Path, lengths: Sequence[int]) -> dict[str, float]:
    """Return the peaks of `lstm` (one epoch) and `evaluate` on random embeddings of clips of those lengths."""
    repository = Repository.new(root, [])
    repository.set("lstm", epochs=1)
    clips.enlist(repository.data, [f"{index:05d}" for index in range(len(lengths))])
    cache.write(repository.root / "outputs/features/features.parquet", sequences(lengths), {})
    return {stage: repository.peak_memory(stage) for stage in TRAINED}


def sequences(lengths: Sequence[int]) -> "list[cache.Sequence]":
    """Return random clips."""
    random = np.random.default_rng(0)
    result = []
    for index, frames in enumerate(lengths):
        status, frame = np.array(["detected"] * frames), np.arange(frames, dtype=np.int32)
        embedding, probabilities = (random.random((frames, width), np.float32) for width in (WIDTH, CLASSES))
        result.append(cache.Sequence(f"bench/{index:05d}", frame, frame / RATE, status, embedding, probabilities))
    return result
