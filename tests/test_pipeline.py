"""The pipeline as a user runs it: real `dvc` commands in a repository of its own, on a tiny rendered dataset."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from repository import HOME, STAGES, Repository, build, stages_run

from vfer.cnn import head
from vfer.data.catalogue import manifest
from vfer.data.catalogue.manifest import Clip
from vfer.nets import reference
from vfer.nets.session import Session

AFTER_LSTM = ["lstm", "evaluate", "register"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return build(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def output(repository: Repository) -> str:
    text = repository.run("dvc", "repro")
    repository.commit()
    return text


@pytest.fixture(scope="module")
def first(output: str) -> list[str]:
    return stages_run(output)


def test_the_first_run_runs_every_stage(repository: Repository, first: list[str]) -> None:
    assert sorted(first) == sorted(STAGES)
    assert repository.metrics("frames")["clips"] == 28
    assert repository.metrics("evaluate")["leakage"] == {"content": 0.0, "recording": 0.0, "subject": 0.0, "stills": 0.0}
    assert len(repository.experiments()) == 1
    network = Session(repository.root / "outputs" / "cnn" / "model.onnx")
    assert reference.reference_of(network).mean.shape == head.of(network).kernel.shape[:1]


def test_the_first_run_shows_no_line_of_the_libraries(output: str) -> None:
    lines = [line for line in output.splitlines() if not line.startswith("> ")]
    assert [line for line in lines if re.search(r"registered model|Created version|mlflow\.|tensorflow|onnxruntime", line)] == []


def test_nothing_to_do_runs_nothing(repository: Repository, first: list[str]) -> None:
    assert first
    assert repository.ran("repro") == []


@pytest.mark.slow
def test_two_clean_runs_of_a_commit_make_the_same_to_the_last_byte(repository: Repository, first: list[str], tmp_path: Path) -> None:
    """Without the first one's cache and clip store, and with another order of sets."""
    assert first
    other = Repository(tmp_path / "other", {"VFER_STORE": "none", "PYTHONHASHSEED": "1"})
    repository.run("git", "clone", "--quiet", ".", str(other.root))
    shutil.copytree(repository.root / "data", other.root / "data", dirs_exist_ok=True)
    assert sorted(other.ran("repro")) == sorted(first)
    for stage in ("frames", "faces", "pretrain", "cnn", "tune", "lstm", "evaluate"):
        assert other.metrics(stage) == repository.metrics(stage), stage
    locks = [yaml.safe_load((root / "dvc.lock").read_text())["stages"] for root in (repository.root, other.root)]
    hashes = [{out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]} for lock in locks]
    with_ids = {path for path in hashes[0] if path.endswith(("run.json", "register.json")) or path == "outputs/register"}  # MLflow's ids
    assert {path for path in hashes[0] if hashes[0][path] != hashes[1][path]} <= with_ids


def test_the_comparison_runs_by_method_and_only_what_changed(repository: Repository, first: list[str]) -> None:
    assert first
    methods = ["method@lstm", "method@svm_pooled"]

    def ran() -> list[str]:
        return re.findall(
            r"^Running stage 'comparison/dvc.yaml:(\S+)'", repository.run("dvc", "repro", "comparison/dvc.yaml"), re.MULTILINE
        )

    assert sorted(ran()) == sorted(["motion", "folds", *methods, "compare"])
    assert ran() == []
    path = repository.root / "comparison" / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("- svm_pooled", "- svm_pooled\n  - frames_vote"))
    assert ran() == ["method@frames_vote", "compare"]
    assert "frames, vote" in (repository.root / "outputs" / "comparison" / "compare" / "table.md").read_text()
    path.write_text(text.replace("- none", "- none\n  - subject"))
    status = json.loads(repository.run("dvc", "status", "--json", "comparison/dvc.yaml"))
    assert {name.partition(":")[2] for name in status} == {*methods, "compare"}
    path.write_text(text)
    repository.commit()


def test_a_knob_of_the_lstm_runs_only_what_follows_it_and_once(repository: Repository, first: list[str]) -> None:
    assert first
    assert repository.ran("exp", "run", "--name", "wider", "-S", "lstm.units=6") == AFTER_LSTM
    assert repository.ran("exp", "run", "--name", "wider-again", "-S", "lstm.units=6") == []
    assert sorted(run["lstm.units"] for run in repository.experiments()) == ["4", "6"]
    shown = repository.run("dvc", "exp", "show", "--csv")
    rows = {row["Experiment"]: row for row in csv.DictReader(shown[shown.index("Experiment,") :].splitlines())}
    assert rows["wider"]["lstm.units"] == "6"
    assert rows["wider"]["accuracy.value"]


def test_going_back_restores_from_the_cache(repository: Repository, first: list[str]) -> None:
    assert first
    repository.run("git", "checkout", "--quiet", "--force", ".")
    assert repository.ran("repro") == []
    assert repository.run("git", "status", "--porcelain") == ""


def test_an_experiment_in_a_temporary_copy_shares_both_stores(repository: Repository, first: list[str]) -> None:
    assert first
    before = len(repository.experiments())
    output = repository.run("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "lstm.units=5", "-S", "frames.max_bad=0.6")
    assert stages_run(output) == ["frames", *AFTER_LSTM]
    assert "28 clips (28 from the clip store)" in output
    newest, *others = repository.experiments()
    assert len(others) == before
    assert newest["dvc.experiment"] == "aside"
    assert newest["at"].startswith((repository.root / "mlruns").resolve().as_uri())


@pytest.mark.slow
def test_the_cnn_is_fine_tuned_for_a_fold_once(repository: Repository, first: list[str]) -> None:
    assert first
    knobs = ("-S", "split.fold=1", "-S", "tune.epochs=1", "-S", "tune.frozen_epochs=1")
    assert repository.ran("exp", "run", "--temp", "--name", "tuned", *knobs) == ["tune", "features", "lstm", "evaluate", "register"]
    newest = repository.experiments()[0]
    assert (newest["tune.epochs"], newest["split.fold"]) == ("1", "1")
    assert newest["vfer.run.tune"] != newest["vfer.run.cnn"]
    assert repository.ran("exp", "run", "--temp", "--name", "tuned-again", *knobs) == []


def test_a_deleted_run_is_made_again_from_the_cache(repository: Repository, first: list[str]) -> None:
    assert first
    before = repository.experiments()
    code = f"import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); mlflow.MlflowClient().delete_run('{before[-1]['id']}')"
    repository.run(sys.executable, "-W", "ignore", "-c", code)
    assert repository.ran("repro", "--force", "--single-item", "register") == ["register"]
    after = repository.experiments()
    assert sorted(run["vfer.key"] for run in after) == sorted(run["vfer.key"] for run in before)
    assert before[-1]["id"] not in [run["id"] for run in after]


def test_added_clips_spare_the_cnn_and_bad_ones_are_set_aside(repository: Repository, first: list[str]) -> None:
    assert first
    data = repository.root / "data"
    clips = manifest.read(data / "clips.csv")
    twin = data / "clips" / "sample" / "again.mp4"
    shutil.copy(data / clips[0].path, twin)
    (data / "clips" / "sample" / "empty.mp4").write_bytes(b"")
    newcomers = [
        Clip("sample/again", "clips/sample/again.mp4", clips[0].expression, clips[0].subject, clips[0].recording, "sample"),
        Clip("sample/empty", "clips/sample/empty.mp4", clips[0].expression, clips[0].subject, "sample/other", "sample"),
    ]
    manifest.write(data / "clips.csv", [*clips, *newcomers])
    repository.run("dvc", "add", "--quiet", "data")
    output = repository.run("dvc", "repro")
    assert "Running stage 'cnn'" not in output
    assert "sample/empty" in output
    assert "the file is empty" in output
    assert repository.metrics("frames") == {"clips": 29, "set_aside": 1, "notes": {}, "frames": repository.metrics("frames")["frames"]}
    assert (repository.root / "outputs" / "faces" / "clips" / "sample" / "again.parquet").is_file()
    assert output.count("29 clips (29 from the clip store)") == 3, "the one clip that is new has the content of another"


def command(stage: str, **changes: str) -> list[str]:
    """Return the command of a stage, as dvc.yaml has it, with some of its options changed."""
    words = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"][stage]["cmd"].split()
    options = dict(zip(words[3::2], words[4::2], strict=True)) | {f"--{name}": value for name, value in changes.items()}
    return [sys.executable, *words[1:3], *(word for option in options.items() for word in option)]


@pytest.mark.parametrize(
    ("change", "stage", "line"),
    [
        ({"lstm": {"unit": 5}}, "lstm", "params.yaml: lstm.unit: unknown key"),
        ({"lstm": {"units": 0}}, "lstm", "params.yaml: lstm.units: input should be greater than or equal to 1"),
        ({"split": {"fold": 9}}, "lstm", "params.yaml: split"),
        ({"split": {"folds": 60}}, "lstm", "subjects cannot fill 60 folds"),
        ({"labels": {"clips": ["happy", "bored"]}}, "lstm", "nothing is labelled bored"),
        ({"faces": {"detector": "scrfd"}}, "faces", "vfer detector add"),
        ({"frames": {"fps": -1}}, "frames", "params.yaml: frames.fps"),
    ],
)
def test_bad_params_end_in_one_line(
    repository: Repository, first: list[str], change: dict[str, dict[str, object]], stage: str, line: str, tmp_path: Path
) -> None:
    assert first
    params = yaml.safe_load((repository.root / "params.yaml").read_text())
    for section, values in change.items():
        params[section] |= values
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    output = repository.run(*command(stage, params=str(tmp_path / "params.yaml"), out=str(tmp_path / "out")), fails=True)
    assert line in output
    assert "Traceback" not in output


def test_a_stage_that_fails_loses_nothing(repository: Repository, first: list[str]) -> None:
    assert first
    path = repository.root / "params.yaml"
    original = path.read_text()
    path.write_text(original.replace("lstm:\n", "lstm:\n  unit: 5\n"))
    try:
        output = repository.run("dvc", "repro", "--single-item", "lstm", fails=True)
    finally:
        path.write_text(original)
    assert "params.yaml: lstm.unit: unknown key" in output
    assert "Traceback" not in output
    repository.run("dvc", "checkout", "--quiet", "--force")
    assert (repository.root / "outputs" / "lstm" / "model.onnx").is_file()


def test_no_data_at_all_is_one_clear_line(repository: Repository, first: list[str]) -> None:
    assert first
    output = repository.run(*command("frames", clips="nowhere/clips.csv", out="elsewhere"), fails=True)
    assert "nowhere/clips.csv: cannot be read" in output
    assert "vfer data add" in output
    assert "Traceback" not in output


def test_a_tracking_server_that_is_down_stops_before_the_training(repository: Repository, first: list[str]) -> None:
    assert first
    output = repository.run("env", "MLFLOW_TRACKING_URI=http://127.0.0.1:9", *command("lstm", out="elsewhere"), fails=True)
    assert "does not answer" in output
    assert "unset MLFLOW_TRACKING_URI" in output
    assert "Traceback" not in output
