"""The comparison: every fold of every protocol, what is kept of a run that dies, the table of them all, and the audit."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import project
import pytest
import toys
import yaml
from mlflow.exceptions import MlflowException
from test_cli import vfer

from stages import compare, method
from vfer.compare import answers, folds, pictures
from vfer.compare.answers import Answers, Cost
from vfer.compare.methods.base import FittedMethod, MethodClips, Task
from vfer.compare.params import CompareParams
from vfer.compare.report import MethodResults, heading, markdown, table
from vfer.compare.table import ENTRIES
from vfer.data.catalogue import split
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError, ParamsError, TrackingError
from vfer.params import load

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of MLflow and of what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]
HOME = Path(__file__).resolve().parents[1]
METHODS = ["lstm", "frames_mean", "svm_pooled"]
PROTOCOLS = {"random": 3, "recording": 3, "subject": 3}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a pipeline on toy clips, one without a face: to copy."""
    folder = tmp_path_factory.mktemp("made")
    project.make(folder)
    toys.dataset(folder / "data", toys.clips(6, 3))
    return folder


@pytest.fixture
def root(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs of one's own, and the comparison's params."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("VFER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # which MLflow sets when a stage connects: it must not outlive the test
    (tmp_path / "params.yaml").write_text((HOME / "params.yaml").read_text())
    settings(tmp_path)
    return tmp_path


def settings(root: Path, **changes: Any) -> Path:
    content = yaml.safe_load((HOME / "comparison" / "params.yaml").read_text())
    protocols = {name: {"folds": folds, "seeds": 1} for name, folds in PROTOCOLS.items()}
    content["compare"] |= {"methods": METHODS, "protocols": protocols} | changes
    (root / "comparison.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return root / "comparison.yaml"


def fake_method(name: str) -> Callable[[MethodClips, MethodClips, Task], FittedMethod]:
    """Stands for a method: it answers by the mean embedding, `svm_pooled` always wrongly."""

    def fit(train: MethodClips, validation: MethodClips, _: Task) -> FittedMethod:
        assert len(train)
        assert len(validation)

        def answer(clips: MethodClips) -> np.ndarray:
            light = np.array([embedding.mean(axis=0)[1] for embedding in clips.embeddings])
            shares = np.stack([1 - light, light], axis=1)
            return (np.flip(shares, axis=1) if name == "svm_pooled" else shares).astype(np.float32)

        return FittedMethod(7, answer)

    return fit


def run(root: Path, name: str) -> Path:
    out = root / "outputs" / "comparison" / "answers" / name
    cache, faces = root / "outputs" / "features" / "features.parquet", root / "outputs" / "faces" / "clips"
    data = root / "data"
    method.main(
        cache,
        root / "folds",
        faces,
        root / "motion",
        data,
        root / "params.yaml",
        root / "comparison.yaml",
        name,
        out,
    )
    return out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfer.compare.table.load", fake_method)


def test_a_method_answers_for_every_clip_once_under_every_protocol(root: Path) -> None:
    out = run(root, "frames_mean")
    assert sorted(path.name for path in out.iterdir()) == ["random.parquet", "recording.parquet", "subject.parquet"]
    for protocol in PROTOCOLS:
        fold_answers = answers.read(out / f"{protocol}.parquet")
        assert [fold.fold for fold in fold_answers] == [0, 1, 2]
        assert sorted(row.clip for fold in fold_answers for row in fold.rows) == sorted(clip.clip for clip in toys.clips(6, 3))
        assert sum(int(np.isnan(fold.probabilities).all(axis=1).sum()) for fold in fold_answers) == 1, "the clip without a face"
        for fold in fold_answers:
            assert fold.leakage == {"content": 0, "recording": 0, "subject": 0 if protocol == "subject" else 1}
            has_face = ~np.isnan(fold.probabilities).any(axis=1)
            truth = np.array([toys.CLASSES.index(row.expression) for row in fold.rows])
            assert (fold.probabilities.argmax(axis=1) == truth)[has_face].all()
            assert fold.cost.parameters > 0
            assert min(fold.cost.seconds, fold.cost.milliseconds) > 0
            assert all("is in fold" in row.reason for row in fold.rows)


@pytest.mark.usefixtures("quick")
def test_each_baseline_has_a_table_of_its_own(root: Path) -> None:
    settings(root, protocols={"subject": {"folds": 3, "seeds": 1}}, baselines=["none", "subject"])
    out = run(root, "frames_mean")
    assert sorted(path.stem for path in out.iterdir()) == ["subject", "subject-baseline-subject"]
    plain, relative = (answers.read(path) for path in sorted(out.iterdir()))
    assert [fold.rows for fold in plain] == [fold.rows for fold in relative]
    assert not np.allclose(plain[0].probabilities, relative[0].probabilities, equal_nan=True)
    assert heading("subject") == "By subject"
    assert "(subject: knows the person's other clips, not their labels)" in heading("subject-baseline-subject")


@pytest.mark.usefixtures("quick")
def test_a_baseline_trains_no_method_again_that_sees_no_embeddings(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings(root, protocols={"subject": {"folds": 3, "seeds": 1}}, baselines=["none", "subject"])
    out = run(root, "cnn3d")
    assert "6 trainings (3 from the clip store)" in " ".join(capsys.readouterr().out.split())
    plain, relative = (answers.read(path) for path in sorted(out.iterdir()))
    assert all(np.array_equal(one.probabilities, other.probabilities, equal_nan=True) for one, other in zip(plain, relative, strict=True))


@pytest.mark.usefixtures("quick")
def test_a_run_that_dies_goes_on_with_the_fold_it_was_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = folds.run, []

    def dying(number: int, *rest: Any) -> Answers:
        calls.append(number)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(number, *rest)

    monkeypatch.setattr(folds, "run", dying)
    with pytest.raises(KeyboardInterrupt):
        run(root, "frames_mean")
    run(root, "frames_mean")
    assert len(calls) == 4 + 1 + 5
    run(root, "frames_mean")
    assert len(calls) == 10, "all are there"
    settings(root, protocols={"random": {"folds": 3, "seeds": 2}, "subject": {"folds": 4, "seeds": 1}})
    run(root, "frames_mean")
    assert len(calls) == 17, "only the folds and the seed that are new"


@pytest.mark.usefixtures("quick")
def test_other_clips_seeds_or_settings_train_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(root, protocols={"subject": {"folds": 3, "seeds": 1}})
    calls: list[int] = []
    real = folds.run
    monkeypatch.setattr(folds, "run", lambda number, *rest: (calls.append(number), real(number, *rest))[1])
    run(root, "frames_mean")
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(params | {"seed": 8}))
    run(root, "frames_mean")
    assert len(calls) == 6
    toys.dataset(root / "data", toys.clips(5, 3))
    run(root, "frames_mean")
    assert len(calls) == 9


def everything(root: Path) -> Path:
    for name in METHODS:
        run(root, name)
    out = root / "outputs" / "comparison" / "compare"
    compare.main(out.parent / "answers", root / "data.dvc", root / "params.yaml", root / "comparison.yaml", out)
    return out


@pytest.mark.usefixtures("quick")
def test_the_table_the_pictures_and_the_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = everything(root)
    tables = json.loads((out / "metrics.json").read_text())
    assert list(tables) == list(PROTOCOLS)
    by_method = tables["subject"]
    assert list(by_method) == ["frames_mean", "lstm", "svm_pooled"], "the most accurate first"
    assert by_method["lstm"]["accuracy"]["value"] == pytest.approx(35 / 36)
    assert by_method["svm_pooled"]["accuracy"]["value"] == 0
    assert by_method["svm_pooled"]["p"] < 0.001
    assert by_method["svm_pooled"]["p_corrected"] == pytest.approx(2 * by_method["svm_pooled"]["p"])
    assert by_method["frames_mean"]["p"] == 1
    assert "p" not in by_method["lstm"]
    assert (by_method["lstm"]["clips"], by_method["lstm"]["faceless"], by_method["lstm"]["parameters"]) == (36, 1, 7)
    assert by_method["lstm"]["folds"]["number"] == 3
    assert tables["random"]["lstm"]["leakage"] == {"content": 0, "recording": 0, "subject": 1}
    with (out / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9
    assert {row["method"] for row in rows} == set(METHODS)
    with (out / "per_subject.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 9 * 6
    text = (out / "table.md").read_text()
    assert "### By subject: 36 test clips in 3 folds; 0% of their recordings and 0% of their subjects were seen in training" in text
    assert re.search(r"\| LSTM \| 97\.2 \| [\d.]+ to 100\.0 \|", text)
    plots = sorted(path.relative_to(out / "plots").as_posix() for path in (out / "plots").rglob("*.png"))
    assert plots == ["accuracy.png", *(f"confusion/{name}.png" for name in sorted(METHODS)), "cost.png", "subjects.png"]
    assert "3 methods under 3 protocols" in capsys.readouterr().out
    compare.main(out.parent / "answers", root / "data.dvc", root / "params.yaml", root / "comparison.yaml", out)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (parent,) = client.search_runs(["1"], "tags.`vfer.kind` = 'comparison'")
    assert parent.data.tags["data.md5"] == "0123456789abcdef0123456789abcdef.dir"
    below = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(below) == 9
    (one,) = [each for each in below if each.info.run_name == "lstm by subject"]
    assert one.data.params == {"method": "lstm", "protocol": "subject"}
    assert one.data.metrics["accuracy.value"] == pytest.approx(35 / 36)
    assert [each.step for each in client.get_metric_history(one.info.run_id, "fold.accuracy")] == [0, 1, 2]
    assert {each.path for each in client.list_artifacts(parent.info.run_id)} >= {"table.md", "table.csv", "plots"}


@pytest.mark.usefixtures("quick")
def test_where_the_store_fails_half_way_the_next_comparison_is_logged_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_artifacts", refuse)
        with pytest.raises(TrackingError, match=r"disk full.*run `make compare` again"):
            everything(root)
    everything(root)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs(["1"], "tags.`vfer.kind` = 'comparison'")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


@pytest.mark.usefixtures("quick")
def test_a_faceless_clip_is_scored_as_it_was_asked(root: Path) -> None:
    out = run(root, "lstm")
    fold_answers = answers.read(out / "subject.parquet")
    for faceless, right in (("wrong", 35), ("prior", 36)):  # the prior is the first of two equal classes, which the clip shows
        params = load(settings(root, faceless=faceless), "compare", CompareParams)
        scores = MethodResults(fold_answers, params).scores()
        assert scores["accuracy"]["value"] == pytest.approx(right / 36)
        assert scores["faceless"] == 1


@pytest.mark.usefixtures("quick")
def test_the_audit_tells_what_leaks_and_what_that_is_worth(root: Path) -> None:
    before = vfer("audit", "--root", root).stdout
    assert "0% of the test clips are of a subject seen in training" in before
    assert re.search(r"random\W+0%\W+100%", before)
    assert "`make compare` trains the same methods under every protocol" in before
    everything(root)
    after = vfer("audit", "--root", root).stdout
    assert re.search(r"random\W+0%\W+100%\W+0\.972\W+0\.\d+ to \d\.\d+\W+0\.9", after)
    assert re.search(r"subject\W+0%\W+0%\W+0\.972", after)
    parts = [row for row in split.read(root / "outputs" / "lstm" / "split.parquet") if row.part != "train" or row.expression == "dark"]
    split.write(root / "less.parquet", parts)
    assert "no clip of the part train shows light" in vfer("audit", root / "less.parquet", "--root", root).stdout
    (root / "outputs" / "comparison" / "compare" / "metrics.json").write_text("{")
    process = vfer("audit", "--root", root)
    assert (process.returncode, process.stderr.count("\n")) == (1, 1)
    assert "metrics.json: is damaged; run `make compare`" in process.stderr


def rows(train: str, validation: str = "ab", test: str = "ab") -> list[SplitRow]:
    parts = (("train", train), ("validation", validation), ("test", test))
    return [SplitRow(f"{part}-{i}", label, part, f"{part}-{i}", "toy", part) for part, labels in parts for i, label in enumerate(labels)]


def method_clips(split_rows: list[SplitRow]) -> MethodClips:
    return MethodClips(
        np.array(["ab".index(row.expression) for row in split_rows]),
        [np.ones((2, 3), np.float32)] * len(split_rows),
        [np.arange(2.0)] * len(split_rows),
    )


@pytest.mark.parametrize(
    ("split_rows", "message"),
    [
        (rows("aaa"), "fold 4: all clips to train on show a; lower the number of folds, add clips, or look at labels.clips"),
        (rows("ab", validation=""), "fold 4: no clip of the part validation shows a face"),
    ],
)
def test_a_fold_that_teaches_nothing_is_one_line(split_rows: list[SplitRow], message: str) -> None:
    with pytest.raises(DataError) as excinfo:
        folds.run(4, 0, split_rows, ["a", "b"], fake_method("lstm"), Task(2, 0, None, None, None), method_clips)  # type: ignore[arg-type]
    assert str(excinfo.value).startswith(message)


def test_a_fold_whose_tested_clips_show_no_face_has_answers_of_none() -> None:
    split_rows = rows("ab")

    def clips(some: list[SplitRow]) -> MethodClips:
        return method_clips([row for row in some if row.part != "test"])

    silent = FittedMethod(1, lambda _: pytest.fail("there is nothing to answer"))
    answer = folds.run(0, 0, split_rows, ["a", "b"], lambda *_: silent, Task(2, 0, None, None, None), clips)  # type: ignore[arg-type]
    assert np.isnan(answer.probabilities).all()
    assert len(answer.rows) == 2


def test_one_clip_a_subject_is_compared_like_any_other() -> None:
    """The tests and intervals are over subjects, which are the clips then; a subject may be right alone."""
    params = load(HOME / "comparison" / "params.yaml", "compare", CompareParams)
    parts = [SplitRow(f"c{i}", "ab"[i % 2], f"s{i}", f"c{i}", "toy", "test") for i in range(9)]
    truth = np.array(["ab".index(row.expression) for row in parts])
    cost = Cost(1, 1.0, 1.0)

    def fold(predictions: np.ndarray) -> list[Answers]:
        shares, prior = np.eye(2, dtype=np.float32)[predictions], np.full(2, 0.5, np.float32)
        return [Answers(0, 0, parts, shares, prior, ["a", "b"], {"recording": 0, "subject": 0}, cost)]

    by_method = {"lstm": MethodResults(fold(truth), params), "gru": MethodResults(fold(1 - truth), params)}
    scores = table(by_method)
    assert scores["gru"]["p"] < 0.01
    assert scores["lstm"]["accuracy"] == {"value": 1, "low": pytest.approx(0.025 ** (1 / 9)), "high": 1}
    assert re.search(r"\| GRU \| 0\.0 \|.* one seed \|", markdown({"subject": scores}, 0.95))


def test_seeds_are_averaged_and_their_spread_is_told() -> None:
    params = load(HOME / "comparison" / "params.yaml", "compare", CompareParams)
    parts = [SplitRow(f"c{i:02}", "ab"[i % 2], f"s{i // 2}", f"c{i}", "toy", "test") for i in range(12)]
    truth = np.array(["ab".index(row.expression) for row in parts])
    half = np.where(np.arange(12) < 6, truth, 1 - truth)
    cost, prior = Cost(1, 1.0, 1.0), np.full(2, 0.5, np.float32)

    def answer_fold(fold: int, repeat: int, predictions: np.ndarray) -> Answers:
        mine = slice(6 * fold, 6 * fold + 6)
        return Answers(fold, repeat, parts[mine], np.eye(2, dtype=np.float32)[predictions[mine]], prior, ["a", "b"], {"recording": 0}, cost)

    method_results = MethodResults(
        [answer_fold(fold, repeat, predictions) for repeat, predictions in enumerate([truth, half]) for fold in (0, 1)], params
    )
    scores = method_results.scores()
    assert scores["accuracy"]["value"] == 0.75
    assert scores["accuracy"]["low"] < 0.75 < scores["accuracy"]["high"]
    assert scores["seeds"] == {"deviation": pytest.approx(0.5 / np.sqrt(2)), "number": 2}
    assert (scores["clips"], scores["folds"]["number"], method_results.confusion.sum()) == (12, 2, 24)
    assert [row["accuracy"] for row in method_results.by_fold()] == [1, 0.5]
    assert [row["accuracy"] for row in method_results.by_subject()] == [1, 1, 1, 0.5, 0.5, 0.5]
    assert method_results.right.tolist() == [1] * 6 + [0.5] * 6
    assert table({"lstm": method_results, "gru": method_results})["gru"]["p"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["lstm", "rnn"]}, "rnn is not a method; expected some of lstm, frames_mean"),
        ({"protocols": {"actor": {"folds": 3, "seeds": 1}}}, "compare.protocols.actor"),
        ({"protocols": {"subject": {"folds": 2, "seeds": 1}}}, "compare.protocols.subject.folds"),
        ({"protocols": {"subject": {"folds": 3, "seeds": 0}}}, "compare.protocols.subject.seeds"),
        ({"protocols": {"random": {"folds": "each", "seeds": 1}}}, "random: each goes with subject alone"),
        ({"faceless": "dropped"}, "compare.faceless"),
        ({"methods": []}, "compare.methods"),
    ],
)
def test_params_that_mean_nothing_are_one_line(root: Path, changes: dict[str, Any], message: str) -> None:
    settings(root, **changes)
    with pytest.raises(ParamsError) as excinfo:
        run(root, "lstm")
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_fewer_subjects_than_folds_is_one_line(root: Path) -> None:
    settings(root, protocols={"subject": {"folds": 7, "seeds": 1}})
    with pytest.raises(DataError, match=r"clips\.csv: 6 subjects cannot fill 7 folds; lower split\.folds or add data"):
        run(root, "frames_mean")


def test_answers_are_read_as_they_were_written_and_damaged_ones_are_one_line(root: Path) -> None:
    path = run(root, "svm_pooled") / "subject.parquet"
    fold_answers = answers.read(path)
    answers.write(root / "again.parquet", fold_answers)
    assert (root / "again.parquet").read_bytes() == path.read_bytes()
    assert [fold.cost for fold in answers.read(root / "again.parquet")] == [fold.cost for fold in fold_answers]
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"subject\.parquet: is not a readable table of a method's answers; run `make compare`"):
        answers.read(path)


def test_the_methods_worth_their_time_are_those_that_none_is_both_faster_and_better_than() -> None:
    points = {
        "slow and good": (5, 90),
        "fast": (1, 60),
        "slow": (6, 80),
        "as fast, worse": (1, 50),
        "as good, slower": (7, 90),
        "between": (2, 70),
    }
    assert pictures.front(points) == ["fast", "between", "slow and good"]


def test_every_method_has_a_title_of_its_own() -> None:
    assert len({entry.title for entry in ENTRIES.values()}) == len(ENTRIES)
