"""The paired test of two models, by how often it errs and how often it finds what is there."""

import numpy as np
import pytest

from benchmarks.judging import EQUAL, Pair, differences, mcnemar
from vfer.evaluate.paired import Paired, holm, p_text, p_values, paired


@pytest.mark.parametrize("pair", EQUAL, ids=str)
def test_equal_models_are_told_apart_no_more_often_than_promised(pair: Pair) -> None:
    p = p_values(*differences(4000, pair))
    for level in (0.05, 0.025, 0.01):
        assert np.mean(p < level) < level + 2.5 * np.sqrt(level * (1 - level) / 4000), level


def test_the_former_test_over_single_clips_errs_more_often_and_this_one_finds_a_gain() -> None:
    """McNemar's test over twin files of people whom one of two equal models happens to suit."""
    gains, owner = differences(2000, Pair(12, 14, 0.8, 0.1, 0.15))
    assert np.mean(mcnemar(gains) < 0.05) > 0.1
    assert np.mean(p_values(gains, owner) < 0.05) < 0.06
    assert np.mean(p_values(*differences(2000, Pair(24, 28, 0.7, 0.1, 0.05), better=0.08)) < 0.05) > 0.9
    three = differences(2000, Pair(3, 28, 0.6, 0.05, 0.02), better=0.35)
    assert np.mean(p_values(*three) < 0.05) > 0.5, "three people can tell much"


def test_twins_count_once_and_the_side_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 60)) < [[0.9], [0.6]]
    subjects, recordings = [f"s{i // 10}" for i in range(60)], [f"r{i}" for i in range(60)]
    once = paired(first, second, subjects, recordings)
    twice = paired(first.repeat(2), second.repeat(2), [s for s in subjects for _ in "ab"], [r for r in recordings for _ in "ab"])
    assert once == twice
    assert (once.subjects, once.recordings) == (6, 60)
    assert once.difference == pytest.approx(first.mean() - second.mean())
    back = paired(second, first, subjects, recordings)
    assert (back.difference, back.p) == (pytest.approx(-once.difference), pytest.approx(once.p))


def test_what_cannot_be_told_is_not_told() -> None:
    everywhere, nowhere = np.ones(20), np.zeros(20)
    names = [f"r{i}" for i in range(20)]
    assert paired(everywhere, nowhere, ["a"] * 10 + ["b"] * 10, names) == Paired(1, None, 2, 20)
    same = paired(everywhere, everywhere, [f"s{i // 4}" for i in range(20)], names)
    assert (same.difference, same.p) == (0, 1)
    assert paired(everywhere, nowhere, [f"s{i // 4}" for i in range(20)], names).p == pytest.approx(2 * 0.5**20)


def test_three_people_who_agree_by_chance_are_no_certainty() -> None:
    """Student's t alone takes one clip more of each of three people for a p of 0."""
    first = np.tile([1, 1, 1, 0], 3)
    second = np.tile([1, 1, 0, 0], 3)
    comparison = paired(first, second, [f"s{i // 4}" for i in range(12)], [f"r{i}" for i in range(12)])
    assert comparison.p == pytest.approx(0.25)


def test_p_values_are_corrected_as_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1, "a": 1}
    assert holm({"a": None, "b": 0.01}) == {"a": None, "b": 0.01}
    assert holm({}) == {}


def test_p_values_are_written_as_far_as_they_are_known() -> None:
    assert [p_text(p) for p in (0.031, 0.00012, 1e-12, 0.0, None)] == ["0.031", "0.00012", "< 0.0001", "< 0.0001", "too few subjects"]
