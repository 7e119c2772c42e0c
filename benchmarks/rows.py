"""What a benchmark gives: rows of one figure each, from samples that were taken in turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Goal:
    """What a figure should reach: at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool:
        """Whether the figure is within the bounds."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"


@dataclass(frozen=True)
class Row:
    """One figure: the median of its samples, their range, and whether it reaches its goal; `value` is None if it was not measured."""

    what: str
    value: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    runs: int = 0
    goal: str = ""
    met: bool | None = None
    note: str = ""


def row(what: str, samples: Sequence[float], unit: str, goal: Goal | None = None, note: str = "") -> Row:
    """Return the row of some samples."""
    value = median(samples)
    bound, met = (str(goal), goal.met(value)) if goal else ("", None)
    return Row(what, value, unit, min(samples), max(samples), len(samples), bound, met, note)


def missing(what: str, why: str) -> Row:
    """Return the row of a figure that could not be measured."""
    return Row(what, note=f"not measured: {why}")


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round, so that what slows a whole round falls out."""
    return [one / other for one, other in zip(above, below, strict=True)]


def in_turn(tasks: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run all tasks round after round, so that a machine that slows down or is disturbed treats them alike; return their samples."""
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            samples[name].append(task())
    return samples
