"""`dvc repro` of the whole pipeline with nothing to do, at 100, 500 and 2000 clips.

The same repositories as for adding a clip. The outputs of the stages that train are small files put there by hand, since training is
not measured here.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import added
from benchmarks.repository import TO_FEATURES
from benchmarks.rows import Goal, Row, in_turn, row

ROUNDS = 5
MOST = 5.0  # seconds


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure each repository in turn."""
    tasks: dict[int, Callable[[], float]] = {}
    for number in added.NUMBERS:
        repository, _ = added.build(scratch, number)
        repository.settle(*(stage for stage in repository.stages if stage not in TO_FEATURES))
        tasks[number] = partial(repository.repro, runs=())
    samples = in_turn({str(number): task for number, task in tasks.items()}, ROUNDS)
    goals = {max(added.NUMBERS): Goal(most=MOST)}
    return [row(f"{number} clips", samples[str(number)], "s", goals.get(number)) for number in added.NUMBERS]
