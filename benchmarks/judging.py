"""How often intervals hold, the paired test errs, and the gate promotes by chance, by simulation: `python -m benchmarks.judging`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from vfer.cli import console
from vfer.evaluate.intervals import NAMES, Interval, intervals
from vfer.evaluate.paired import p_values
from vfer.nets.scores import score
from vfer.register.gate import level

CLASSES = 4
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
"""Of the classes among the clips."""
CLIPS = 28
"""Of a person, as in RAVDESS's speech videos: 14 recordings of eight expressions, twice."""
POPULATIONS = {"alike": (0.8, 0.02), "unlike": (0.75, 0.12), "near the edge": (0.95, 0.04)}
"""Mean and standard deviation of people's accuracies."""
SUBJECTS = (3, 5, 12, 24)
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models: people, recordings of each, mean accuracy, its deviation over people, and by how much a model suits some people."""

    people: int
    clips: int
    mean: float
    spread: float
    suits: float


EQUAL = (
    Pair(3, 14, 0.8, 0.1, 0.15),
    Pair(3, 28, 0.97, 0.03, 0.0),
    Pair(5, 14, 0.8, 0.1, 0.0),
    Pair(8, 5, 0.9, 0.1, 0.1),
    Pair(12, 14, 0.8, 0.1, 0.15),
    Pair(24, 28, 0.7, 0.1, 0.1),
)
Samples = tuple[NDArray[np.int64], NDArray[np.int64], list[str]]
"""Truth and answers of n clips, int64 (n,), and their subjects."""


def people(number: int, population: str, rng: np.random.Generator) -> Samples:
    """Draw people's clips; the third class is recognised less often than the others."""
    mean, spread = POPULATIONS[population]
    size = mean * (1 - mean) / spread**2 - 1
    accuracy = rng.beta(mean * size, (1 - mean) * size, number).repeat(CLIPS)
    truth = rng.choice(CLASSES, number * CLIPS, p=SHARES)
    right = rng.random(len(truth)) < accuracy * np.where(truth == 2, 0.8, 1)
    answers = np.where(right, truth, (truth + rng.integers(1, CLASSES, len(truth))) % CLASSES)
    return truth, answers, [f"s{i // CLIPS}" for i in range(len(truth))]


def vfer_intervals(samples: Samples, confidence: float = 0.95) -> dict[str, Interval]:
    """Return the scores with the intervals that vfer reports."""
    truth, answers, subjects = samples
    return intervals(truth, answers, subjects, [f"r{i}" for i in range(len(truth))], CLASSES, confidence)


def bootstrap(samples: Samples, rng: np.random.Generator, draws: int = 400) -> dict[str, Interval]:
    """Return the accuracy with the percentile bootstrap over subjects, for comparison."""
    truth, answers, _ = samples
    means = (truth == answers).reshape(-1, CLIPS).mean(axis=1)
    replicates = means[rng.integers(0, len(means), (draws, len(means)))].mean(axis=1)
    low, high = np.quantile(replicates, (0.025, 0.975))
    return {"accuracy": Interval(float(means.mean()), float(low), float(high))}


def coverage(
    number: int, population: str, draws: int, seed: int, estimate: Callable[[Samples], dict[str, Interval]] = vfer_intervals
) -> dict[str, float]:
    """Return the share of draws whose interval holds the score of everybody, by score."""
    rng = np.random.default_rng(seed)
    truth, answers, _ = people(20_000, population, rng)
    everybody = asdict(score(truth, answers, CLASSES))
    estimates = [estimate(people(number, population, rng)) for _ in range(draws)]
    return {name: float(np.mean([_holds(one[name], everybody[name]) for one in estimates])) for name in estimates[0]}


def _holds(interval: Interval, value: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= value <= interval.high


def differences(draws: int, pair: Pair, better: float = 0, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Draw differences of two models, (draws, people * clips), the first `better` in accuracy, half of whose mistakes are common.

    Returns them with the number of each recording's person.
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(pair.mean, pair.spread, (draws, pair.people, 1))
    first, second = (np.clip(base + gain + rng.normal(0, pair.suits, (draws, pair.people, 1)), 0, 1) for gain in (better, 0))
    common, own = rng.random((2, draws, pair.people, pair.clips))
    other = np.where(rng.random((draws, pair.people, pair.clips)) < 0.5, common, own)
    result = (common < first).astype(int) - (other < second)
    return result.reshape(draws, -1), np.repeat(np.arange(pair.people), pair.clips)


def mcnemar(gains: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return McNemar's exact p over twin files, each of which counts, for comparison."""
    wins, losses = (2 * np.maximum(sign * gains, 0).sum(axis=-1) for sign in (1, -1))
    return np.asarray(np.minimum(1, 2 * stats.binom.sf(np.maximum(wins, losses) - 1, wins + losses, 0.5)))


@dataclass(frozen=True)
class Reigns:
    """Champions and their challengers, all equally good: accuracies on validation, (draws, 1 + challengers), and what each gained on test.

    `gains` is int64 (draws, challengers, recordings), and `owner` the number of each recording's person.
    """

    validation: NDArray[np.float64]
    gains: NDArray[np.int64]
    owner: NDArray[np.intp]

    def by_gate(self) -> NDArray[np.bool_]:
        """Return in which draws the gate promotes one."""
        p = np.stack([p_values(self.gains[:, k], self.owner) for k in range(self.gains.shape[1])], axis=1)
        return np.array([self._promotes(draw, p[draw]) for draw in range(len(p))])

    def _promotes(self, draw: int, p: NDArray[np.float64]) -> bool:
        best, looks = self.validation[draw, 0], 0
        for k, accuracy in enumerate(self.validation[draw, 1:]):
            if accuracy >= best:
                best, looks = accuracy, looks + 1
                if p[k] < level(SIGNIFICANCE, looks) and self.gains[draw, k].sum() > 0:
                    return True
        return False

    def by_mcnemar(self) -> NDArray[np.bool_]:
        """Return in which draws McNemar's test over files, at the same significance each time, promotes one."""
        return np.asarray(((mcnemar(self.gains) < SIGNIFICANCE) & (self.gains.sum(axis=-1) > 0)).any(axis=1))


def reigns(rng: np.random.Generator, draws: int, challengers: int = 20, pair: Pair = Pair(12, 14, 0.75, 0.1, 0.1)) -> Reigns:
    """Draw champions and challengers that are as unlike as networks of different seeds."""
    shape = (draws, challengers + 1, pair.people)
    accuracy = rng.normal(pair.mean, pair.spread, (draws, 1, pair.people, 1)) + rng.normal(0, pair.suits, (*shape, 1))
    common, own = rng.random((draws, 1, pair.people, pair.clips)), rng.random((*shape, pair.clips))
    right = np.where(rng.random(own.shape) < 0.6, common, own) < np.clip(accuracy, 0, 1)
    gains = (right[:, 1:].astype(int) - right[:, :1]).reshape(draws, challengers, -1)
    return Reigns(rng.normal(0, 1, shape[:2]), gains, np.repeat(np.arange(pair.people), pair.clips))


def main(draws: Annotated[int, typer.Option(help="Simulated datasets for each figure.")] = 1000) -> None:
    """Print the tables of docs/judging.md."""
    coverage_rows = [[str(number), kind, *_coverages(number, kind, draws)] for number in SUBJECTS for kind in POPULATIONS]
    table(["subjects", "people", *NAMES, "accuracy, percentile bootstrap"], coverage_rows)
    error_rows = [[*map(str, vars(pair).values()), *_errors(pair, draws)] for pair in EQUAL]
    table(["people", "recordings of each", "accuracy", "deviation", "suits", "equal", "equal, by McNemar", "10 points better"], error_rows)
    output = reigns(np.random.default_rng(0), draws // 2)
    table(
        ["20 equal challengers in a row", "one promoted"],
        [["gate", _percent(output.by_gate())], ["McNemar", _percent(output.by_mcnemar())]],
    )


def _coverages(number: int, population: str, draws: int) -> list[str]:
    rng = np.random.default_rng(number)
    shares = coverage(number, population, draws, number)
    former = coverage(number, population, draws, number, lambda samples: bootstrap(samples, rng))
    return [f"{100 * share:.1f}" for share in (*shares.values(), former["accuracy"])]


def _errors(pair: Pair, draws: int) -> list[str]:
    equal, owner = differences(4 * draws, pair)
    better, _ = differences(draws, pair, better=0.1, seed=1)
    hits = (p_values(equal, owner), mcnemar(equal), p_values(better, owner))
    return [_percent(p < SIGNIFICANCE) for p in hits]


def _percent(hits: NDArray[np.bool_]) -> str:
    return f"{100 * hits.mean():.1f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    console.console.print("".join(f"| {' | '.join(line)} |\n" for line in lines), markup=False, soft_wrap=True)


if __name__ == "__main__":
    console.run(main)
