"""What a sequence model may know of the people of its clips, and what it makes of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toys

from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.features.cache import Embeddings
from vfer.lstm import learn, people
from vfer.lstm.learn import KerasNetwork, TrainedModel
from vfer.lstm.settings import settings_of
from vfer.lstm.train import ClipPart
from vfer.nets.reference import Reference

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # those of TensorFlow

EXPRESSIONS = ["angry", "happy", "neutral", "sad"]
WIDTH = 8
LOOKS = np.random.default_rng(0).normal(0, 1, (4, WIDTH))
LOOKS[2] = 0
PARAMS = toys.lstm_params(
    units=16, noise=0.1, frame_dropout=0.1, time_jitter=0.1, batch_size=16, learning_rate=0.02, baseline="subject", neutral_clips=2
)


def dataset(subjects: int = 12, takes: int = 4, rest: float = 1.5) -> tuple[list[SplitRow], dict[str, Embeddings]]:
    """Clips of people whose faces rest far apart; the last third of them validates and tests."""
    rows, embeddings = [], {}
    for number in range(subjects):
        rng = np.random.default_rng([1, number])
        resting = rng.normal(0, rest, WIDTH)
        part = "train" if number < subjects * 2 / 3 else ("validation", "test")[number % 2]
        for expression, look in zip(EXPRESSIONS, LOOKS, strict=True):
            for take in range(takes):
                clip = f"set/{number:02}-{expression}-{take}"
                rows.append(SplitRow(clip, expression, f"set/{number:02}", clip, "set", part))
                values = resting + look + rng.normal(0, 0.4, (int(rng.integers(3, 7)), WIDTH))
                embeddings[clip] = Embeddings(values.astype(np.float32), np.arange(len(values)) / 10)
    return rows, embeddings


ROWS, CLIPS = dataset()


def learn_model(mode: str, rows: list[SplitRow] = ROWS, clips: dict[str, Embeddings] = CLIPS, **changes: object) -> TrainedModel:
    params = PARAMS.model_copy(update={"baseline": mode} | changes)
    return learn.learn(rows, EXPRESSIONS, clips, params, 3, None, lambda *_: None)


@pytest.fixture(scope="module")
def subject_model() -> TrainedModel:
    return learn_model("subject")


@pytest.fixture(scope="module")
def neutral_model() -> TrainedModel:
    return learn_model("neutral")


def network(model: TrainedModel) -> KerasNetwork:
    return KerasNetwork(model.model, EXPRESSIONS, model.metadata)


@pytest.mark.parametrize("mode", ["subject", "neutral", "iterative"])
def test_one_model_answers_strangers_and_better_those_it_knows(mode: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue("subject_model" if mode == "subject" else "neutral_model")
    right = {}
    for baseline in ("none", mode):
        settings = settings_of(network(model)).model_copy(update={"baseline": baseline})
        rows, probabilities = people.answers(network(model), ROWS, CLIPS, settings, "test")
        truth = np.array([EXPRESSIONS.index(row.expression) for row in rows])
        right[baseline] = (probabilities.argmax(axis=1) == truth).mean()
    assert right["none"] > 0.3  # of four
    assert right[mode] >= right["none"] + (0 if mode == "iterative" else 0.1)


class Recorder:
    """Stands in for the training, and keeps what it was given."""

    def __init__(self, model: TrainedModel) -> None:
        self.model, self.calls = model, list[dict[str, ClipPart]]()

    def __call__(self, data: dict[str, ClipPart], *_: object) -> tuple[object, object]:
        self.calls.append(data)
        return self.model.model, self.model.fit


@pytest.mark.parametrize("mode", ["none", "subject", "iterative"])
@pytest.mark.parametrize("refit", [False, True])
def test_nothing_of_a_test_clip_reaches_the_model_and_of_validation_only_what_may(
    mode: str, refit: bool, subject_model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(subject_model)
    monkeypatch.setattr(learn, "train", recorder)
    monkeypatch.setattr(learn.calibration, "soften", lambda *_: None)
    far = {"test": 1000.0, "validation": 100.0, "train": 0.0}
    clips = {row.clip: CLIPS[row.clip].moved(lambda values, row=row: values + far[row.part]) for row in ROWS}  # type: ignore[misc]
    result = learn_model(mode, clips=clips, refit=refit)
    train_part = recorder.calls[-1]["train"]
    highest = max(clip.values.max() for data in recorder.calls for part in data.values() for clip in part.clips)
    assert highest < 200
    assert (max(clip.values.max() for clip in train_part.clips) > 50) == refit
    everybody = Reference.from_json(result.metadata["baseline"])
    assert (everybody.mean.max() > 20) == refit
    assert everybody.mean.max() < 200
    assert len(recorder.calls) == 1 + refit
    assert ("validation_baseline" in result.figures) == (mode != "none")


def answers(model: TrainedModel, clips: dict[str, Embeddings], mode: str) -> tuple[list[SplitRow], np.typing.NDArray[np.float32]]:
    settings = settings_of(network(model)).model_copy(update={"baseline": mode})
    return people.answers(network(model), ROWS, clips, settings, "test")


def test_a_clip_is_answered_by_the_other_clips_of_its_person_alone(subject_model: TrainedModel) -> None:
    rows, before = answers(subject_model, CLIPS, "subject")
    other = next(row for row in rows if row.expression == "sad")
    _, after = answers(subject_model, CLIPS | {other.clip: CLIPS[other.clip].moved(lambda values: values + 3)}, "subject")
    same = np.isclose(before, after, atol=1e-6).all(axis=1)
    of_person = np.array([row.subject == other.subject for row in rows])
    assert not same[of_person].any()
    assert same[~of_person].all()


def test_known_neutral_recordings_are_not_scored_and_files_of_one_recording_go_together(neutral_model: TrainedModel) -> None:
    rows, _ = answers(neutral_model, CLIPS, "neutral")
    test_rows = [row for row in ROWS if row.part == "test"]
    omissions = {row.clip for row in test_rows} - {row.clip for row in rows}
    assert omissions == {f"{subject}-neutral-{take}" for subject in {row.subject for row in test_rows} for take in (0, 1)}
    twins = [*ROWS, *(replace(row, clip=row.clip.replace("set/", "twin/")) for row in ROWS)]
    mask = people.known_neutral(twins, "neutral", 1)
    assert {row.recording for row, use in zip(twins, mask, strict=True) if use} == {f"set/{n:02}-neutral-0" for n in range(12)}
    assert mask.sum() == 24


def test_the_labels_of_the_tested_do_not_matter_but_where_neutral_is_known() -> None:
    other_labels = [replace(row, expression=EXPRESSIONS[(EXPRESSIONS.index(row.expression) + 1) % 4]) for row in ROWS]
    for mode, expected in (("subject", True), ("iterative", True), ("neutral", False)):
        whole = people.known_neutral(ROWS, "neutral", 1)
        other = people.known_neutral(other_labels, "neutral", 1)
        clips = [people.clips_of(rows, CLIPS, mask) for rows, mask in ((ROWS, whole), (other_labels, other))]
        result = [
            people.baselines(one, mode, people.reference(clips[0]), lambda some: np.array([-abs(clip.values.mean()) for clip in some]))
            for one in clips
        ]
        assert all(np.array_equal(a.offset, b.offset) for a, b in zip(*result, strict=True)) == expected, mode


def check(rows: list[SplitRow], **changes: object) -> list[str]:
    params = PARAMS.model_copy(update=changes)
    return people.check(rows, params.baseline, params.neutral, Path("data/clips.csv"))


def test_people_without_names_are_refused_by_the_column() -> None:
    nameless = [replace(row, subject=row.clip) for row in ROWS]
    with pytest.raises(DataError, match=r"data/clips\.csv: .*column subject.*lstm\.baseline: none"):
        check(nameless)
    assert check(nameless, baseline="none") == []


def test_a_person_with_one_clip_is_said_and_one_under_two_names_is_refused() -> None:
    assert check(ROWS) == []
    (warning,) = check([*ROWS, SplitRow("set/x", "sad", "set/x", "set/x", "set", "test")])
    assert warning.startswith("1 of 13 subjects")
    twice = SplitRow("twin/00", "sad", "set/05", ROWS[0].recording, "set", "test")
    with pytest.raises(DataError, match=r"set/00-angry-0 is of several subjects.*column subject"):
        check([*ROWS, twice])


def test_a_neutral_face_must_be_among_those_that_are_learned_from() -> None:
    for mode in ("neutral", "iterative"):
        with pytest.raises(DataError, match=r"shows calm.*set lstm\.neutral to one of angry, happy, neutral, sad"):
            check(ROWS, baseline=mode, neutral="calm")
    assert check(ROWS, neutral="calm") == []
