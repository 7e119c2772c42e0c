"""MLflow's store where houses move: copies, renames, odd folders, other servers, deleted experiments, inherited runs."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click.testing
import pytest
import servers
from typer.testing import CliRunner

from vfer.cli.app import app
from vfer.errors import TrackingError
from vfer.predict.models import registry
from vfer.register import address, live, relocate, tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own and those of what it imports
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it; so it is unset afterwards
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a store, and a run that has a file."""
    root = tmp_path_factory.mktemp("template")
    client, experiment = connect(root)
    log(client, experiment, root.parent / "first.txt")
    return root


@pytest.fixture
def original(template: Path, tmp_path: Path) -> Path:
    """A copy of the template that has gone its own way."""
    root = tmp_path / "old"
    shutil.copytree(template, root)
    connect(root)
    return root


def connect(root: Path) -> "tuple[MlflowClient, str]":
    """Connect as a process of its own does: MLflow sets the variable, which would tell the next one where to go."""
    variable = os.environ.get("MLFLOW_TRACKING_URI", "")
    connection = tracking.connect(root)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if variable:
        os.environ["MLFLOW_TRACKING_URI"] = variable
    return connection


def log(client: "MlflowClient", experiment: str, file: Path) -> str:
    file.write_text(file.name)
    run = client.create_run(experiment).info.run_id
    client.log_artifact(run, str(file))
    return str(run)


def files(root: Path) -> set[str]:
    return {path.name for path in (root / "mlruns").rglob("*.txt")}


def places(root: Path) -> set[str]:
    """What the store says of where artifacts are, but for that of the experiment `Default`, which is MLflow's."""
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        rows = [row for table, column in relocate.PLACES for row in database.execute(f"SELECT {column} FROM {table}")]
    return {str(place) for (place,) in rows if place and not place.endswith("/mlruns/0")}


def test_a_copy_goes_its_own_way(original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = tmp_path / "Kopie für später #2 50%41?"
    shutil.copytree(original, copy)
    client, experiment = connect(copy)
    assert f"was in {original} before" in caplog.text
    log(client, experiment, tmp_path / "second.txt")
    assert files(original) == {"first.txt"}
    assert files(copy) == {"first.txt", "second.txt"}
    assert all(place.startswith((copy / "mlruns").as_uri()) for place in places(copy))
    assert all(place.startswith((original / "mlruns").as_uri()) for place in places(original))
    caplog.clear()
    connect(copy)
    assert not caplog.text


def test_a_renamed_repository_finds_its_artifacts_by_one_command(original: Path, tmp_path: Path) -> None:
    new = original.rename(tmp_path / "new")
    (new / "params.yaml").write_text("register: {name: '', significance: 0.05}\n")
    result = CliRunner().invoke(app, ["relocate", "--root", str(new)])
    assert result.exit_code == 0, result.output
    assert all(place.startswith((new / "mlruns").as_uri()) for place in places(new))
    client, experiment = connect(new)
    for run in client.search_runs([experiment]):
        assert run.info.artifact_uri.startswith((new / "mlruns").as_uri())
    assert not original.exists()
    assert "nothing to do" in CliRunner().invoke(app, ["relocate", "--root", str(new)]).output


def test_a_copy_of_the_database_alone_still_leads_to_the_files(original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(original / "mlflow.db", copy)
    client, experiment = connect(copy)
    assert re.search(r"\d+ still point to .*old/mlruns, where their files are", caplog.text)
    assert any(client.list_artifacts(run.info.run_id) for run in client.search_runs([experiment]))
    log(client, experiment, tmp_path / "second.txt")
    assert files(copy) == {"second.txt"}
    assert files(original) == {"first.txt"}


def test_places_of_others_stay(original: Path, tmp_path: Path) -> None:
    client, _ = connect(original)
    elsewhere = [(tmp_path / "disk" / "mlruns").as_uri(), "s3://bucket/mlruns", "/somewhere/else"]
    for number, place in enumerate(elsewhere):
        client.create_experiment(f"other {number}", artifact_location=place)
    new = original.rename(tmp_path / "new")
    relocate.relocate(new / "mlflow.db", "vfer", new / "mlruns")
    assert set(elsewhere) <= places(new)


@pytest.mark.parametrize("name", ["a b", "Zoë 김", "50%41", "a#b", "a?b&c=d"])
def test_a_repository_may_be_in_any_folder(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    assert address.database(address.local(root)) == root / "mlflow.db"
    assert registry.store(root) is None
    (root / "mlflow.db").touch()
    assert registry.database(str(registry.store(root))) == root / "mlflow.db"
    assert not address.is_shared(root)


@pytest.mark.parametrize(
    ("uri", "database", "artifacts"),
    [
        ("sqlite:///mlflow.db", "mlflow.db", "mlruns"),
        ("sqlite:///below/team.db", "below/team.db", "below/mlruns"),
        ("sqlite:////var/team.db?timeout=9", "/var/team.db", "/var/mlruns"),
        ("postgresql://mlflow@db/mlflow", None, "mlruns"),
        ("https://mlflow.example.org", None, None),
    ],
)
def test_a_relative_address_is_the_repositorys_and_not_the_processes(
    uri: str, database: str | None, artifacts: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `dvc exp run --temp`, whose processes run in a folder that is deleted."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "temporary")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert address.database(address.uri(tmp_path)) == (tmp_path / database if database else None)
    assert address.artifacts(tmp_path) == (tmp_path / artifacts if artifacts else None)
    assert registry.store(Path.cwd()) == address.uri(tmp_path)


def test_a_deleted_experiment_comes_back_by_the_command_that_is_named(original: Path) -> None:
    from mlflow.experiments import commands

    client, experiment = connect(original)
    client.delete_experiment(experiment)
    with pytest.raises(TrackingError) as excinfo:
        connect(original)
    command = re.search(r"`MLFLOW_TRACKING_URI='(.+)' mlflow experiments (.+)`", str(excinfo.value))
    assert command
    result = click.testing.CliRunner().invoke(commands, command[2].split(), env={"MLFLOW_TRACKING_URI": command[1]})
    assert result.exit_code == 0, result.output
    assert connect(original)[1] == experiment


def test_a_run_that_a_job_hands_down_stays_the_jobs(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    client, experiment = connect(original)
    job = client.create_run(client.create_experiment("a job's"), run_name="the job").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", job)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.get_run(job).info.experiment_id)
    with live.training(original, "cnn", {}, "inherited") as training:
        training.on_epoch(0, {"loss": 1.0})
        assert training.run.id != job
    with mlflow.start_run(run_id=client.create_run(experiment).info.run_id) as run:
        assert run.info.experiment_id == experiment
    assert client.get_run(job).info.status == "RUNNING"
    assert not client.get_run(job).data.metrics


PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, "Unauthorized", "text/plain", ("401", "MLFLOW_TRACKING_USERNAME")),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "no"}', "application/json", ("MLFLOW_TRACKING_USERNAME",)),
        (200, PAGE, "text/html", ("login page", "MLFLOW_TRACKING_URI")),
        (404, PAGE, "text/html", ("MLFLOW_TRACKING_URI",)),
    ],
)
def test_a_server_that_lets_nobody_in_says_what_to_set(
    status: int, body: str, kind: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.answering(status, body, kind) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
        with pytest.raises(TrackingError) as connect_error:
            connect(tmp_path)
        with pytest.raises(TrackingError) as find_error:
            registry.find("models:/vfer@champion", server)
    for message in (str(connect_error.value), str(find_error.value)):
        assert "\n" not in message
        assert "rename" not in message
        assert all(word in message for word in words), message


def test_a_locked_database_is_waited_for_and_then_told(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relocate, "WAIT", 0.1)
    copy = original.rename(original.with_name("new"))
    with closing(sqlite3.connect(copy / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="locked by another process; wait until"):
            connect(copy)
        database.execute("ROLLBACK")
    connect(copy)


def test_a_lock_that_may_not_be_written_is_one_line(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: not str(path).endswith("mlflow.db"))
    with pytest.raises(TrackingError, match=r"mlflow.db: is not writable \(Permission denied\)"):
        connect(original)
    monkeypatch.undo()
    shutil.rmtree(original / "mlruns")
    (original / "mlruns").write_text("a file")
    with pytest.raises(TrackingError, match="mlruns"):
        connect(original)
