"""A person's own baseline: what it must gain, what it must never cost, and whom it may know."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vfer.errors import WeightsError
from vfer.lstm.baseline import (
    each_from_others,
    find_neutral,
    from_clips,
    from_neutral,
    identity,
)
from vfer.nets.reference import Moments, Reference, Statistics, everybody, statistics

WIDTH, CLASSES, NEUTRAL = 12, 4, 0
RNG = np.random.default_rng(0)
LOOKS = RNG.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32)
Clip = NDArray[np.float32]


def person(labels: NDArray[np.int64], rng: np.random.Generator) -> list[Clip]:
    """Return one clip a label, of a person whose face rests elsewhere and moves more or less than others'."""
    rest, reach = rng.normal(0, 1.5, WIDTH), rng.uniform(0.5, 1.5)
    return [(rest + reach * LOOKS[label] + rng.normal(0, 0.5, (5, WIDTH))).astype(np.float32) for label in labels]


def people(count: int, labels: NDArray[np.int64]) -> tuple[list[list[Clip]], Reference]:
    rng = np.random.default_rng(1)
    clips = [person(labels, rng) for _ in range(count)]
    resting = [statistics([clip for clip, label in zip(own, labels, strict=True) if label == NEUTRAL]) for own in clips]
    return clips, everybody([statistics(own) for own in clips], resting)


EVEN = np.arange(40) % CLASSES
TRAINED, REFERENCE = people(20, EVEN)


def answers(clips: list[Clip]) -> NDArray[np.int64]:
    """Answer as a model of the training people would: by the nearest of the looks, seen from everybody's neutral face."""
    assert REFERENCE.neutral is not None
    looks = REFERENCE.neutral + LOOKS - LOOKS[NEUTRAL]
    return np.array([np.square(clip.mean(axis=0) - looks).sum(axis=1).argmin() for clip in clips])


def accuracy(others: int, labels: NDArray[np.int64] = EVEN) -> float:
    """Return the accuracy on the clips of new people, given so many other clips of each."""
    right = []
    for seed in range(15):
        rng = np.random.default_rng([2, seed])
        clips = person(labels, rng)
        for row, clip in enumerate(clips):
            rest = rng.permutation([i for i in range(len(clips)) if i != row])[:others]
            values = from_clips(statistics([clips[i] for i in rest]), REFERENCE)(clip)
            right.append(answers([values])[0] == labels[row])
    return float(np.mean(right))


def test_more_clips_of_a_person_help_and_few_do_not_hurt() -> None:
    curve = [accuracy(others) for others in (0, 1, 4, 39)]
    assert curve[0] < curve[2] < curve[3]
    assert curve[1] > curve[0] - 0.02
    assert curve[3] > curve[0] + 0.2


def test_of_a_person_who_is_unknown_nothing_changes() -> None:
    clip = person(EVEN[:1], RNG)[0]
    for baseline in (
        identity(REFERENCE),
        from_clips(None, REFERENCE),
        from_neutral(None, REFERENCE),
        from_clips(statistics([]), REFERENCE),
    ):
        np.testing.assert_array_equal(baseline(clip), clip)


def test_a_person_like_everybody_stays() -> None:
    same = Statistics(REFERENCE.mean, REFERENCE.spread, 100)
    clip = person(EVEN[:1], RNG)[0]
    np.testing.assert_allclose(from_clips(same, REFERENCE)(clip), clip, atol=1e-5)


def test_many_clips_move_a_person_onto_everybody() -> None:
    clips = person(EVEN, np.random.default_rng(9)) * 50
    baseline = from_clips(statistics(clips), REFERENCE)
    overall = statistics([baseline(clip) for clip in clips])
    assert overall is not None
    np.testing.assert_allclose(overall.mean, REFERENCE.mean, atol=0.1)
    np.testing.assert_allclose(overall.spread, REFERENCE.spread, rtol=0.3)


def test_a_dimension_that_never_moves_breaks_nothing() -> None:
    flat = Reference(np.zeros(2, np.float32), np.array([0, 1], np.float32))
    values = from_clips(statistics([np.zeros((3, 2), np.float32)] * 30), flat)(np.array([[5, 5]], np.float32))
    assert values[0, 0] == 5
    assert np.isfinite(values).all()
    assert 5 < values[0, 1] < 5 * 1.3 / 0.3  # scaled up, and no further than the floor allows


@pytest.mark.parametrize("mode", ["subject", "neutral", "iterative"])
def test_a_clip_and_its_twin_have_no_say_in_their_own_baseline(mode: str) -> None:
    clips, recordings = person(EVEN[:8], np.random.default_rng(3)), ["a", "a", "b", "c", "d", "e", "f", "g"]
    neutral = np.ones(8, bool)
    before = each_from_others(Moments(clips, recordings), REFERENCE, mode, neutral)  # type: ignore[arg-type]
    others = [clip + 10 * (row < 2) for row, clip in enumerate(clips)]
    after = each_from_others(Moments(others, recordings), REFERENCE, mode, neutral)  # type: ignore[arg-type]
    same = [np.array_equal(one.offset, other.offset) for one, other in zip(before, after, strict=True)]
    assert same == [True, True] + 6 * [False]


def test_files_of_one_recording_count_once() -> None:
    first, second = person(EVEN[:2], np.random.default_rng(4))
    once, twice = statistics([first, second]), statistics([first, first, second], ["a", "a", "b"])
    assert once is not None
    assert twice is not None
    assert twice.count == once.count == 2
    np.testing.assert_allclose(twice.mean, once.mean, atol=1e-6)


def test_a_person_with_one_recording_gets_the_plain_answer() -> None:
    clips = person(EVEN[:2], np.random.default_rng(5))
    for baseline in each_from_others(Moments(clips, ["a", "a"]), REFERENCE, "subject", np.zeros(2, bool)):
        np.testing.assert_array_equal(baseline(clips[0]), clips[0])


def test_clips_without_a_face_count_for_nothing() -> None:
    clips, empty = person(EVEN[:3], np.random.default_rng(6)), np.zeros((0, WIDTH), np.float32)
    with_empty, without = statistics([*clips, empty]), statistics(clips)
    assert with_empty is not None
    assert without is not None
    assert with_empty.count == without.count
    np.testing.assert_array_equal(with_empty.mean, without.mean)
    assert not find_neutral([empty], REFERENCE, lambda clips: np.ones(len(clips))).any()


def neutrality(clips: list[Clip]) -> NDArray[np.float64]:
    """The probability of neutral by the same model as `answers`."""
    assert REFERENCE.neutral is not None
    distances = [np.square(clip.mean(axis=0) - REFERENCE.neutral - LOOKS + LOOKS[NEUTRAL]).sum(axis=1) for clip in clips]
    shares = np.exp(-np.array(distances) / 4)
    return np.asarray(shares[:, NEUTRAL] / shares.sum(axis=1))


def test_neutral_is_found_in_a_mostly_neutral_mix_without_labels() -> None:
    labels = np.array([NEUTRAL] * 12 + [1, 2, 3, 1, 2, 3, 1, 2])
    right: dict[str, list[bool]] = {"none": [], "iterative": []}
    for seed in range(25):
        clips = person(labels, np.random.default_rng([7, seed]))
        neutral = find_neutral(clips, REFERENCE, neutrality)
        assert neutral.sum() == 5
        for mode, hits in right.items():
            baselines = each_from_others(Moments(clips), REFERENCE, mode, neutral)  # type: ignore[arg-type]
            hits += (answers([baseline(clip) for baseline, clip in zip(baselines, clips, strict=True)]) == labels).tolist()
    shares = {mode: np.mean(hits) for mode, hits in right.items()}
    assert shares["iterative"] > shares["none"] + 0.1


def test_a_reference_survives_being_stored() -> None:
    for reference in (REFERENCE, Reference(REFERENCE.mean, REFERENCE.spread)):
        again = Reference.from_json(reference.to_json())
        np.testing.assert_array_equal(again.mean, reference.mean)
        np.testing.assert_array_equal(again.spread, reference.spread)
        assert (again.neutral is None) == (reference.neutral is None)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"mean": [1, 2], "spread": [1], "neutral": null}', '{"mean": "x", "spread": [], "neutral": null}']
)
def test_a_damaged_reference_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(WeightsError, match="train it again"):
        Reference.from_json(text)


def test_without_neutral_clips_in_training_a_neutral_baseline_is_refused() -> None:
    with pytest.raises(WeightsError, match="neutral"):
        from_neutral(statistics(TRAINED[0]), Reference(REFERENCE.mean, REFERENCE.spread))
