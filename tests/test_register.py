"""The experiment's MLflow run, its registered models and aliases, on toy models and a synthetic set of outputs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import toys
import yaml
from project import Project, fill, make
from repository import Repository

from stages.register import main
from vfer.errors import DataError
from vfer.predict.models import model as models
from vfer.register import address, experiment, tracking
from vfer.register import project as names
from vfer.register.inputs import collect

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOME = Path(__file__).resolve().parents[1]
NAMES = ["vfer", "vfer-cnn", "vfer-lstm"]
WEAK = [[0.1, 0], [0, 0.1]]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of MLflow and of what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]


@pytest.fixture(scope="module")
def project(store: Path) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(store))
        patch.setenv("DVC_EXP_NAME", "quick-fox")
        yield make(store)


@pytest.fixture(scope="module")
def client(project: Project) -> "MlflowClient":
    return tracking.connect(project.root)[0]


@pytest.fixture(scope="module")
def first(project: Project) -> dict[str, Any]:
    project.train(toys.constant_lstm, units=12)
    return project.register()


def experiments(client: "MlflowClient", key: str = "") -> list[str]:
    """The ids of the experiments' runs."""
    number = client.get_experiment_by_name("vfer").experiment_id
    query = "tags.`vfer.kind` = 'experiment'" + (f" and tags.`vfer.key` = '{key}'" if key else "")
    return [run.info.run_id for run in client.search_runs([number], query)]


def aliases(client: "MlflowClient", alias: str) -> list[str]:
    return [str(client.get_model_version_by_alias(name, alias).version) for name in NAMES]


def test_an_experiment_is_one_run_with_params_metrics_data_pictures_and_links(first: dict[str, Any], client: "MlflowClient") -> None:
    assert experiments(client) == [first["run_id"]]
    run = client.get_run(first["run_id"])
    assert run.info.status == "FINISHED"
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    assert run.data.params["lstm.units"] == "12"
    assert (run.data.params["seed"], run.data.params["split.protocol"]) == (str(params["seed"]), params["split"]["protocol"])
    assert run.data.metrics["test.accuracy.value"] == 0.5
    assert run.data.metrics["cnn.test.accuracy"] == 0.5
    tags = run.data.tags
    assert (tags["vfer.run.cnn"], tags["vfer.run.lstm"], tags["dvc.experiment"]) == ("cnn-run", "lstm-run", "quick-fox")
    assert tags["data.md5"] == "0123456789abcdef0123456789abcdef.dir"
    assert (tags["vfer.pretrain"], tags.get("vfer.run.pretrain")) == ("none", None)
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.digest.startswith("0123456789abcdef")
    assert {file.path for file in client.list_artifacts(first["run_id"], "curves")} == {"curves/cnn.png", "curves/lstm.png"}
    files = {file.path for file in client.list_artifacts(first["run_id"], "evaluate")}
    assert files >= {"evaluate/predictions.parquet", "evaluate/plots", "evaluate/report.html"}


def test_weights_from_a_pretraining_are_told_and_linked(project: Project, first: dict[str, Any]) -> None:
    assert first
    outputs, _, data, _, config, _ = project.arguments()
    inputs = collect(outputs, config, data)
    metrics = inputs.metrics | {"pretrain": {"weights": "trained", "verification_auc": 0.9}}
    with_pretraining = replace(inputs, metrics=metrics, runs=inputs.runs | {"pretrain": "some-run"})
    tags = experiment.tags(with_pretraining)
    assert (tags["vfer.pretrain"], tags["vfer.run.pretrain"]) == ("trained", "some-run")
    assert with_pretraining.figures()["pretrain.verification_auc"] == 0.9
    assert (inputs.trained_stages, with_pretraining.trained_stages) == (["cnn", "lstm"], ["pretrain", "cnn", "lstm"])


def test_the_first_models_take_both_aliases(first: dict[str, Any], client: "MlflowClient") -> None:
    assert first["versions"] == dict.fromkeys(NAMES, "1")
    assert (first["champion"], first["reason"]) == (True, "there was no champion")
    assert aliases(client, "challenger") == aliases(client, "champion") == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("vfer-cnn", {"crop": (-1, 48, 48, 1)}, {"embedding": (-1, 2), "probabilities": (-1, 2)}),
        ("vfer-lstm", {"embeddings": (-1, -1, 2), "time": (-1, -1)}, {"probabilities": (-1, 2)}),
    ],
)
def test_a_network_has_a_signature_of_free_batch_and_time_and_an_example_that_runs(
    name: str, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]], first: dict[str, Any]
) -> None:
    import mlflow

    assert first["versions"][name] == "1"
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert {spec.name: spec.shape for spec in model.metadata.signature.inputs} == inputs
    assert {spec.name: spec.shape for spec in model.metadata.signature.outputs} == outputs
    example = model.input_example
    assert all(0 not in np.asarray(value).shape for value in example.values()), "the example is empty"
    answer = model.predict({key: np.asarray(value, np.float32) for key, value in example.items()})
    assert answer["probabilities"].sum() == pytest.approx(1)


def test_the_champion_is_found_in_the_database_without_mlflow(
    first: dict[str, Any], project: Project, client: "MlflowClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    champion = client.get_model_version_by_alias("vfer", "champion")
    for reference in (None, "models:/vfer@challenger", "models:/vfer/1"):
        faces = models.find(reference, project.root)
        assert (faces.run_id, faces.title.startswith("models:/vfer/1")) == (champion.run_id, True)
        assert faces.cnn.read_bytes() == (project.outputs / "cnn" / "model.onnx").read_bytes()
    assert first["champion"]
    assert faces.settings.sources == ("toy",)
    assert faces.settings.windows.length == pytest.approx(0.4), "four frames at 10 a second"


def test_registering_again_makes_no_second_run_and_no_version(first: dict[str, Any], project: Project, client: "MlflowClient") -> None:
    again = project.register()
    assert {name: again[name] for name in ("run_id", "key", "versions")} == {name: first[name] for name in ("run_id", "key", "versions")}
    assert experiments(client) == [first["run_id"]]
    assert [len(client.search_model_versions(f"name = '{name}'")) for name in NAMES] == [1, 1, 1]


PREDICT = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
answers = mlflow.pyfunc.load_model("models:/vfer@champion").predict(sys.argv[2:])
print(json.dumps([answer.model_dump() for answer in answers]))
print(json.dumps(sorted({"tensorflow", "keras"} & set(sys.modules))))
"""


def test_the_champion_answers_in_a_fresh_process_elsewhere_without_tensorflow(
    first: dict[str, Any], project: Project, tmp_path: Path
) -> None:
    assert first["champion"]
    video = toys.render(tmp_path / "happy.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DVC_ROOT")}
    command = [sys.executable, "-c", PREDICT, address.uri(project.root), str(video), str(tmp_path / "bad.mp4"), "none.mp4"]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    answers, modules = (json.loads(line) for line in process.stdout.splitlines()[-2:])
    assert modules == []
    assert [answer["path"] for answer in answers] == command[4:]
    assert answers[0]["expression"] == "dark"
    assert answers[0]["error"] is None
    assert answers[0]["probabilities"] == pytest.approx({"dark": 0.731, "light": 0.269}, abs=1e-3)
    assert answers[0]["coverage"] == 1
    assert len(answers[0]["timeline"]) == 10
    assert {moment["status"] for moment in answers[0]["timeline"]} == {"detected", "tracked"}
    assert "cannot be decoded" in answers[1]["error"]
    assert "there is no such file" in answers[2]["error"]
    assert [answer["expression"] for answer in answers[1:]] == [None, None]


def test_a_better_model_is_champion_only_when_the_test_says_so_and_a_deleted_run_is_made_anew(
    first: dict[str, Any], project: Project, client: "MlflowClient"
) -> None:
    # Version 2 differs in a param alone, and is right on the same clips: a challenger.
    project.train(toys.constant_lstm, units=65)
    second = project.register()
    assert second["run_id"] != first["run_id"]
    assert set(experiments(client)) == {first["run_id"], second["run_id"]}
    assert client.get_run(second["run_id"]).data.params["lstm.units"] == "65"
    assert (second["champion"], second["reason"]) == (
        False,
        "not more accurate: 0.500 against 0.500 of version 1 on 18 recordings of 3 people whom neither has learned from",
    )
    assert (aliases(client, "challenger"), aliases(client, "champion")) == (["2"] * 3, ["1"] * 3)

    # Version 3 gains the nine light test clips of eighteen: p = 2 / 2^9, on the second look at them.
    project.train(toys.good_lstm, units=66)
    third = project.register()
    assert third["champion"], third["reason"]
    assert third["reason"].endswith("whom neither has learned from, p 0.0039, below 0.0083, the level of look 2 at the test clips")
    assert aliases(client, "challenger") == aliases(client, "champion") == ["3"] * 3

    client.delete_run(third["run_id"])
    anew = project.register()
    assert anew["key"] == third["key"]
    assert anew["run_id"] != third["run_id"]
    assert experiments(client, third["key"]) == [anew["run_id"]]
    assert anew["champion"]
    assert aliases(client, "champion") == ["4"] * 3


def test_an_equal_model_of_other_crops_is_no_better_than_the_champion_by_its_own(
    first: dict[str, Any], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion's answers are those of its own crops; over these it would be wrong of every clip."""
    assert first
    project.train(toys.good_lstm, units=66)
    assert project.register()["champion"]
    other = Project(tmp_path / "other")
    shutil.copytree(project.root, other.root, ignore=shutil.ignore_patterns("mlruns", "mlflow.db"))
    monkeypatch.setattr(toys, "LEVELS", dict(zip(toys.LEVELS, reversed(toys.LEVELS.values()), strict=True)))
    fill(other.outputs, other.root / "data")
    other.train(lambda path: toys.lstm(path, [[0, 2], [2, 0]]), units=66)
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    params["faces"]["margin"] = 0.2
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))
    output = other.register()
    assert not output["champion"]
    assert "not more accurate: 1.000 against 1.000" in output["reason"]


@pytest.mark.slow
def test_two_at_once_make_one_run(first: dict[str, Any], project: Project, client: "MlflowClient") -> None:
    project.train(lambda path: toys.lstm(path, WEAK), units=67)
    words = ("--outputs", "--clips", "--data", "--weights", "--params", "--out")
    options = [word for pair in zip(words, map(str, project.arguments()), strict=True) for word in pair]
    command = [sys.executable, "-m", "stages.register", *options]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(HOME / "src")
    both = [
        subprocess.Popen(command, cwd=HOME, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
    ]
    outcome = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outcome
    output = json.loads((project.outputs / "register" / "register.json").read_text())
    assert output["key"] != first["key"]
    assert experiments(client, output["key"]) == [output["run_id"]]
    assert all(f"run {output['run_id']}" in text for text in outcome)


def test_an_output_that_is_missing_is_one_line(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.outputs, tmp_path / "outputs")
    (tmp_path / "outputs" / "lstm" / "metrics.json").unlink()
    _, *others = project.arguments()
    with pytest.raises(DataError, match=r"an earlier stage's output is missing or damaged \(.*metrics\.json.*\); run `dvc repro`"):
        main(tmp_path / "outputs", *others)


def test_register_depends_on_all_that_it_logs(project: Project, first: dict[str, Any], tmp_path: Path) -> None:
    """With nothing there but what dvc.yaml names, it logs the same experiment."""
    assert first
    before = project.register()
    stages = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
    deps = {*stages["register"]["deps"]}
    alone = Project(tmp_path / "alone")
    for path in sorted(file for file in project.root.rglob("*") if file.is_file()):
        name = path.relative_to(project.root)
        if deps & {part.as_posix() for part in (name, *name.parents)} or name.as_posix() in ("data.dvc", "params.yaml"):
            (alone.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, alone.root / name)
    (alone.root / "weights").mkdir(exist_ok=True)
    assert {name: alone.register()[name] for name in ("key", "run_id", "versions")} == {
        name: before[name] for name in ("key", "run_id", "versions")
    }
    evaluate = stages["evaluate"]
    outputs = [Path(name) for name in (*evaluate["outs"], *evaluate["metrics"], *(name for plot in evaluate["plots"] for name in plot))]
    assert {folder.as_posix() for path in outputs for folder in path.parents} & deps == {"outputs/evaluate"}, "all of its folder is logged"
    sections = {param for param in stages["register"]["params"] if isinstance(param, str)}
    assert sections == set(yaml.safe_load((HOME / "params.yaml").read_text())), "so are all params"


def test_what_is_missing_is_made_again_without_a_second_run(first: dict[str, Any], project: Project, client: "MlflowClient") -> None:
    """A version that was deleted, a model whose files are gone, pictures that are gone, and a run that died half-way."""
    assert first
    project.train(lambda path: toys.lstm(path, WEAK), units=70)
    output = project.register()
    run = output["run_id"]

    def files() -> dict[str, bool]:
        sources = {name: client.get_model_version_download_uri(name, again["versions"][name]) for name in NAMES}
        return {name: Path(source.removeprefix("file://")).is_dir() for name, source in sources.items()}

    client.delete_model_version("vfer-cnn", output["versions"]["vfer-cnn"])
    again = project.register()
    assert again["run_id"] == run
    assert {name for name in NAMES if again["versions"][name] != output["versions"][name]} == {"vfer-cnn"}
    assert aliases(client, "challenger") == [again["versions"][name] for name in NAMES]

    shutil.rmtree(client.get_model_version_download_uri("vfer", again["versions"]["vfer"]).removeprefix("file://"))
    shutil.rmtree(Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / "curves")
    again = project.register()
    assert again["run_id"] == run
    assert all(files().values())
    assert client.list_artifacts(run, "curves")

    client.set_terminated(run, "FAILED")
    assert project.register()["run_id"] == run
    assert client.get_run(run).info.status == "FINISHED"
    assert experiments(client, output["key"]) == [run]


def test_when_a_model_is_champion_is_no_part_of_the_experiment(project: Project, first: dict[str, Any], client: "MlflowClient") -> None:
    assert first
    before = project.register()
    path = project.root / "params.yaml"
    path.write_text(path.read_text().replace("significance: 0.05", "significance: 0.01"))
    assert {name: project.register()[name] for name in ("key", "run_id")} == {name: before[name] for name in ("key", "run_id")}
    assert experiments(client, before["key"]) == [before["run_id"]]


@pytest.mark.parametrize(
    ("origin", "on_server", "name"),
    [
        ("git@example.org:team/faces.git", True, "faces"),
        ("https://example.org/team/my%20faces/", True, "my-20faces"),
        ("", True, "folder-name"),
        ("https://example.org/team/faces", False, "vfer"),
    ],
)
def test_two_projects_on_one_server_have_names_of_their_own(
    origin: str, on_server: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "folder name"
    root.mkdir()
    repository = Repository(root)
    repository.run("git", "init", "--quiet")
    if origin:
        repository.run("git", "remote", "add", "origin", origin)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example.org" if on_server else "")
    assert names.name(HOME / "params.yaml", root) == name
    (root / "params.yaml").write_text("register: {name: ours, significance: 0.05}")
    assert names.name(root / "params.yaml", root) == "ours"


def test_a_run_says_whether_files_differed_from_its_commit_but_for_the_locks_that_dvc_writes(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    assert experiment.revision(tmp_path) == {}
    repository.run("git", "init", "--quiet")
    (tmp_path / "comparison").mkdir()
    for name in ("dvc.lock", "params.yaml", "comparison/dvc.yaml"):
        (tmp_path / name).write_text("{}")
    repository.commit()
    commit = repository.run("git", "rev-parse", "HEAD").strip()
    for name in ("dvc.lock", "comparison/dvc.lock"):
        (tmp_path / name).write_text("other")
    assert experiment.revision(tmp_path) == {"mlflow.source.git.commit": commit, "git.dirty": "false"}
    (tmp_path / "params.yaml").write_text("other")
    assert experiment.revision(tmp_path)["git.dirty"] == "true"
