"""One clip added to 100, 500 and 2000: `dvc repro features`, which runs frames, faces and features.

Short rendered clips (160x120, 0.6 s), no two of the same content, under `dvc add data`; the CNN is a fixed, untrained one. Full: the
first run. The clip is added to the same repository, several times over. `dvc add data`, which comes before, is told apart. A clip's own
work: what the first run with one clip takes longer than a forced second one, which has it from the clip store.
"""

import json
from pathlib import Path

from benchmarks import clips, model
from benchmarks.repository import TO_FEATURES, Versioned
from benchmarks.rows import Goal, Row, ratios, row

NUMBERS = (100, 500, 2000)
ROUNDS = 3
MOST = 10.0  # seconds beside the clip's own work
FULL = "full.json"


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure the full run and the runs with one clip more."""
    spare = clips.render(scratch / "cache", clips.SHORT, max(NUMBERS) + ROUNDS)[max(NUMBERS) :]
    single, alone = build(scratch, 1)
    own = max(0.0, alone - single.repro("--force", "--single-item", *TO_FEATURES, runs=TO_FEATURES))
    rows = [row("1 clip: full run (the work of one clip, and all start-up)", [alone], "s"), row("1 clip: its own work", [own], "s")]
    adding = {}
    for number in NUMBERS:
        repository, full = build(scratch, number)
        listing, times = [], []
        for path in spare:
            listing.append(repository.add([path]))
            times.append(repository.repro("features", runs=(*TO_FEATURES, "tune")))
        adding[number] = times
        rows.append(row(f"{number} clips: full run", [full], "s"))
        rows.append(row(f"{number} clips: one more", times, "s", Goal(most=round(MOST + own, 1)) if number == max(NUMBERS) else None))
        rows.append(row(f"{number} clips: one more, of the full run", ratios(times, [full] * len(times)), "x"))
        rows.append(row(f"{number} clips: `dvc add data` before it", listing, "s"))
    few, many = min(NUMBERS), max(NUMBERS)
    if few == many:
        return rows
    growth = [1000 * (more - less) / (many - few) for less, more in zip(adding[few], adding[many], strict=True)]
    return [*rows, row("one more: growth by 1000 clips that are there", growth, "s")]


def build(scratch: Path, number: int) -> tuple[Versioned, float]:
    """Return a repository of so many clips up to their features, and how long its full run took; the first call of a run makes it."""
    root = scratch / "run" / "repositories" / str(number)
    if (root / FULL).exists():
        return Versioned(root), float(json.loads((root / FULL).read_text()))
    repository = Versioned.new(root, clips.render(scratch / "cache", clips.SHORT, number), model.build(scratch))
    seconds = repository.repro("features", runs=(*TO_FEATURES, "tune"))
    (root / FULL).write_text(json.dumps(seconds))
    return repository, seconds
