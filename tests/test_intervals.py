"""Confidence intervals of scores, by how often they hold what they are to hold."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.judging import CLASSES, POPULATIONS, SUBJECTS, bootstrap, coverage, people, vfer_intervals
from vfer.evaluate.intervals import FEW, bounds, cells, intervals
from vfer.nets.scores import score


@pytest.mark.parametrize("number", SUBJECTS)
def test_95_per_cent_intervals_hold_the_score_of_all_people_in_95_per_cent(number: int) -> None:
    for population in POPULATIONS:
        for name, share in coverage(number, population, 250, seed=number).items():
            assert share > 0.92, (population, name)  # 250 draws of 0.95 are below that once in 70


@pytest.mark.parametrize(("number", "most"), [(3, 0.85), (5, 0.9)])
def test_the_percentile_bootstrap_does_not_hold_what_it_promises(number: int, most: float) -> None:
    rng = np.random.default_rng(0)
    assert coverage(number, "unlike", 250, seed=number, estimate=lambda samples: bootstrap(samples, rng))["accuracy"] < most


def test_two_subjects_tell_no_interval() -> None:
    result = vfer_intervals(people(2, "alike", np.random.default_rng(0)))["accuracy"]
    assert (result.low, result.high) == (None, None)
    assert cells(asdict(result)) == [f"{result.value:.3f}", FEW]
    assert cells({"value": 0.5, "low": 0.25, "high": 0.75}, ".1f", 100) == ["50.0", "25.0 to 75.0"]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_score_is_as_sure_as_its_subjects_are_many(value: float) -> None:
    """Exactly: a share of people as low as the bound would give as many perfect ones in 2.5 % of the cases."""
    for number in (3, 24, 108):
        truth = np.tile([0, 1], 10 * number)
        result = intervals(truth, truth if value else 1 - truth, [f"s{i // 20}" for i in range(len(truth))], list(map(str, truth)), 2, 0.95)
        for interval in result.values():
            low, high = (interval.low, interval.high) if value else (1 - interval.high, 1 - interval.low)  # type: ignore[operator]
            assert (interval.value, high) == (value, 1)
            assert low == pytest.approx(0.025 ** (1 / number))  # type: ignore[arg-type]


def test_with_as_many_subjects_as_clips_the_interval_is_that_of_clopper_and_pearson() -> None:
    """As for stills, whose people nobody knows."""
    truth, answers = np.zeros(1000, int), np.repeat([0, 1], [930, 70])
    result = intervals(truth, answers, list(map(str, range(1000))), list(map(str, range(1000))), 2, 0.95)["accuracy"]
    assert (result.low, result.high) == (pytest.approx(0.9124, abs=5e-4), pytest.approx(0.9450, abs=5e-4))


def width(subjects: Sequence[str], recordings: Sequence[str], answers: NDArray[np.int64]) -> float:
    result = intervals(np.zeros(len(answers), int), answers, subjects, recordings, 2, 0.95)["accuracy"]
    assert result.low is not None
    assert result.high is not None
    return result.high - result.low


def test_clips_that_go_together_widen_the_interval_and_twins_do_not_narrow_it() -> None:
    answers = np.repeat(np.arange(10) % 2, 10)  # a subject is recognised always or never
    subjects, recordings = [f"s{i // 10}" for i in range(100)], [f"r{i}" for i in range(100)]
    mixture = np.tile([0, 1], 50)
    assert width(subjects, recordings, answers) > 2 * width(subjects, recordings, mixture)
    twice = [name for name in subjects for _ in range(2)]
    once = width(subjects, recordings, mixture)
    assert width(twice, [name for name in recordings for _ in range(2)], mixture.repeat(2)) == pytest.approx(once)


def test_more_confidence_is_wider_and_seeds_are_averaged() -> None:
    samples = people(12, "unlike", np.random.default_rng(1))
    half, most = vfer_intervals(samples, 0.5)["uar"], vfer_intervals(samples, 0.99)["uar"]
    assert most.low < half.low < half.value < half.high < most.high  # type: ignore[operator]
    truth, answers, subjects = samples
    both = intervals(truth, np.stack([answers, truth]), subjects, subjects, CLASSES, 0.95)
    for name, value in asdict(score(truth, answers, CLASSES)).items():
        assert both[name].value == pytest.approx((1 + value) / 2)


def test_no_answer_is_a_wrong_one() -> None:
    truth, answers, subjects = people(6, "unlike", np.random.default_rng(2))
    answers[::5] = -1
    result = intervals(truth, answers, subjects, subjects, CLASSES, 0.95)
    assert {name: interval.value for name, interval in result.items()} == pytest.approx(asdict(score(truth, answers, CLASSES)))


def test_subjects_that_agree_by_chance_give_no_point() -> None:
    low, high = bounds(0.9, 0.0, 4, 40.0, 0.95)
    assert low < 0.8
    assert high > 0.95
