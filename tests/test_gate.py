"""The contest for `champion`: like with like, on people whom neither has learned from, and how often the whole procedure errs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.judging import reigns
from vfer.clips.store import Recipe, Store
from vfer.data.catalogue import learned
from vfer.data.catalogue.learned import Example
from vfer.errors import DataError
from vfer.files import write_json
from vfer.register import record, replay
from vfer.register.gate import EarlierChallenger, Verdict, contest, level
from vfer.register.record import ClipAnswer, Record, Rules

RULES = Rules(["dark", "light"], {}, "none", "wrong")
PEOPLE, CLIPS = 8, 12


def answers(right: int, people: int = PEOPLE, clips: int = CLIPS, first: int = 0, truth: str = "dark") -> list[ClipAnswer]:
    """Clips of people, of whose clips each `right` are answered rightly."""
    return [
        ClipAnswer(f"d{who}-{i}", f"c{who}-{i}", truth, f"s{who}", f"r{who}-{i}", truth if i < right else None)
        for who in range(first, first + people)
        for i in range(clips)
    ]


def system(right: int, learned: Sequence[Example] = (), **changes: object) -> Record:
    fields = {"rules": RULES, "learned": list(learned), "answers": answers(right), "validation": 0.5, "validated": "v"}
    return Record(**(fields | changes))  # type: ignore[arg-type]


def hold(
    own: Record, champion: Record, looks: Sequence[EarlierChallenger] = (), replies: Mapping[str, str | None] | None = None
) -> Verdict:
    return contest(own, champion, "version 1", looks, 0.05, lambda clips: {c.digest: replies[c.digest] for c in clips} if replies else {})


def test_the_better_one_wins_and_the_line_says_on_what() -> None:
    verdict = hold(system(10), system(5))
    assert verdict.promoted
    assert "0.833 against 0.417 of version 1 on 96 recordings of 8 people whom neither has learned from" in verdict.reason
    assert (hold(system(5), system(10)).promoted, hold(system(5), system(5)).promoted) == (False, False)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"classes": ["dark", "odd"]}, "distinguishes dark, odd, not dark, light"),
        ({"merge": {"light": "dark"}}, "labels that were merged otherwise"),
        ({"baseline": "subject"}, "lstm.baseline subject, not none"),
        ({"faceless": "prior"}, "counts clips without a face as prior, not wrong"),
        ({"source": "openface"}, "works on features of openface, not of cnn"),
    ],
)
def test_unlike_systems_hold_no_contest(changes: dict[str, object], why: str) -> None:
    verdict = hold(system(12), system(0, rules=replace(RULES, **changes)))  # type: ignore[arg-type]
    assert (verdict.promoted, verdict.looked) == (False, False)
    assert verdict.reason.startswith("no contest: version 1")
    assert why in verdict.reason


@pytest.mark.parametrize(
    ("example", "people"),
    [
        (Example("clip", "x", "train", "s0"), 7),
        (Example("clip", "x", "validation", "s0"), 7),
        (Example("still", "x", "train", "s0"), 7),
        (Example("identity", "x", "train", "s0"), 7),
        (Example("clip", "x", "test", "s0"), 8),
        (Example("clip", "x", "train", "", "d0-0"), 8),
    ],
)
@pytest.mark.parametrize("whose", ["own", "champion"])
def test_people_and_clips_that_either_has_learned_from_do_not_count(example: Example, people: int, whose: str) -> None:
    own, champion = (system(right, [example] if whose == who else []) for right, who in ((10, "own"), (5, "champion")))
    clips = PEOPLE * CLIPS - (1 if example.digest else (8 - people) * CLIPS)
    assert f"on {clips} recordings of {people} people" in hold(own, champion).reason


def test_when_nobody_is_left_or_too_few_it_says_so() -> None:
    everybody = [Example("clip", "x", "train", f"s{who}") for who in range(PEOPLE)]
    assert "each test clip shows somebody whom this model or version 1 has learned from" in hold(system(12), system(0, everybody)).reason
    verdict = hold(system(12), system(0, everybody[:6]))
    assert "too few people to tell: 24 recordings of 2 people" in verdict.reason
    assert not verdict.looked


def test_clips_that_the_champion_never_answered_are_put_to_it() -> None:
    champion = replace(system(5), answers=answers(5, people=2))
    verdict = hold(system(10), champion)
    assert "too few people to tell: 24 recordings of 2 people whom neither has learned from (72 more could not be asked)" in verdict.reason
    replies = {answer.digest: answer.predicted for answer in answers(5)}
    verdict = hold(system(10), champion, replies=replies)
    assert verdict.promoted
    assert "on 96 recordings of 8 people" in verdict.reason


def test_the_test_clips_are_looked_at_only_for_the_best_on_the_same_validation_clips() -> None:
    looks = [EarlierChallenger("version 2", 0.7, "v"), EarlierChallenger("version 3", 0.9, "others")]
    verdict = hold(system(12, validation=0.6), system(0), looks)
    assert (verdict.promoted, verdict.looked) == (False, False)
    assert "on validation 0.600 against 0.700 of version 2; the test clips were not looked at" in verdict.reason
    assert hold(system(12, validation=0.7), system(0), looks).promoted
    assert hold(system(12, validation=0.1, validated="new"), system(0), looks).promoted, "other clips say nothing of these"


def test_each_look_is_held_to_a_level_of_its_own() -> None:
    assert sum(level(0.05, look) for look in range(1, 10_000)) == pytest.approx(0.05, abs=1e-5)
    better, champion = system(8), system(6)
    first = hold(better, champion)
    later = hold(better, champion, [EarlierChallenger("x", 0.1, "v")] * 200)
    assert first.promoted
    assert (later.promoted, later.looked) == (False, True)
    assert "may be due to chance" in later.reason


def test_of_twenty_equally_good_challengers_hardly_ever_one_becomes_champion() -> None:
    """The former gate, McNemar's test over clips and their twins at 0.05 each time, promoted one in most rows of twenty."""
    simulation = reigns(np.random.default_rng(0), 600)
    assert simulation.by_gate().mean() < 0.05
    assert simulation.by_mcnemar().mean() > 0.5


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    own = system(3, [Example("clip", "x", "train", "s0", "d")])
    record.write(tmp_path / "record", own)
    assert record.read(tmp_path / "record") == own
    (tmp_path / "record" / "answers.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="holds no record of what the model has learned from"):
        record.read(tmp_path / "record")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model as MLflow stores it, whose own code answers by a video's name, and dies of one called `bad`."""
    import mlflow

    code = tmp_path / "model.py"
    code.write_text(
        "import os\nfrom types import SimpleNamespace\nimport mlflow\nfrom mlflow.pyfunc.model import PythonModel\n"
        "class Named(PythonModel):\n"
        "    def predict(self, model_input):\n"
        "        name = os.path.basename(model_input[0])\n"
        "        if name == 'bad': raise RuntimeError('no such codec')\n"
        "        return [SimpleNamespace(expression=name.split('-')[0] or None)]\n"
        "mlflow.models.set_model(Named())\n"
    )
    mlflow.pyfunc.save_model(str(tmp_path / "model"), python_model=str(code), pip_requirements=["numpy"])
    return tmp_path / "model"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_champion_is_asked_in_its_own_process_and_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, recipe = Store(tmp_path / "store"), Recipe("answers", "champion")
    videos = {"a": Path("happy-1"), "b": Path("-2"), "c": Path("bad"), "d": Path("sad-3")}
    assert replay.replay(model, videos, store, recipe) == {"a": "happy", "b": None}
    assert "answered 2 of 4 clips, then failed: RuntimeError: no such codec" in caplog.text
    monkeypatch.setattr(replay, "_answers", lambda _, paths: ["new"] * len(paths))
    assert replay.replay(model, {"a": Path("happy-1"), "d": Path("sad-3")}, store, recipe) == {"a": "happy", "d": "new"}


@pytest.mark.parametrize("mode", ["none", "subject"])
def test_a_system_is_judged_by_the_answers_that_its_baseline_implies(tmp_path: Path, mode: str) -> None:
    (tmp_path / "evaluate").mkdir()
    columns: dict[str, list[object]] = {name: ["a", "b"] for name in ("digest", "clip", "subject", "recording")}
    columns |= {"expression": ["dark", "dark"], "predicted": ["light", "light"]}
    columns |= {"with_baseline": ["dark", None], "scored_with_baseline": [True, False]} if mode != "none" else {}
    pq.write_table(pa.table(columns), tmp_path / "evaluate" / "predictions.parquet")
    write_json(tmp_path / "lstm" / "metrics.json", {"validation": {"accuracy": 0.5}, "validation_baseline": {"accuracy": 0.75}})
    learned.write(tmp_path / "tune" / learned.FILE, [])
    params = {"labels": {"merge": {}}, "lstm": {"baseline": mode}, "evaluate": {"faceless": "wrong"}}
    own = record.collect(tmp_path, params, ["dark", "light"], [])
    assert [(answer.clip, answer.predicted) for answer in own.answers] == (
        [("a", "light"), ("b", "light")] if mode == "none" else [("a", "dark")]
    )
    assert (own.rules.baseline, own.validation) == (mode, 0.5 if mode == "none" else 0.75)
