"""The MLflow store and the live runs of trainings: what is made once, found again, and survived."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vfer.errors import TrackingError
from vfer.register import live, tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own and those of what it imports
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),  # MLflow keeps its connections
]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "quick-fox")


@pytest.fixture
def store_copy(store: Path, tmp_path: Path) -> Path:
    """A store of one's own, to break."""
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(store / "mlflow.db", root)
    return root


@pytest.fixture
def client(store: Path) -> "MlflowClient":
    return tracking.connect(store)[0]


def test_two_processes_at_once_make_one_experiment(store: Path) -> None:
    client, experiment = tracking.connect(store)
    assert [one.experiment_id for one in client.search_experiments(filter_string="name = 'vfer'")] == [experiment]
    assert client.get_experiment(experiment).artifact_location == (store / "mlruns").as_uri()


KILLED = """
import os, sys
from pathlib import Path
from vfer.register import live, tracking
with live.training(Path(sys.argv[1]), "lstm", {"units": 3}, "killed") as training:
    (training.checkpoint / "weights").write_text("half way")
    training.on_epoch(0, {"loss": 2.0})
    Path("note.txt").write_text("kept")
    tracking.connect(Path(sys.argv[1]))[0].log_artifact(training.run.id, "note.txt")
    print(training.run.id, flush=True)
    os._exit(9)
"""


def test_a_killed_training_finds_its_run_and_its_checkpoint_again(store: Path, client: "MlflowClient", tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(store)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 9, process.stderr
    first = process.stdout.split()[-1]
    assert client.get_run(first).info.status == "RUNNING"
    with live.training(store, "lstm", {"units": 3}, "killed") as training:
        assert training.run.id == first
        assert training.checkpoint is not None
        assert (training.checkpoint / "weights").read_text() == "half way"
        training.on_epoch(1, {"loss": 1.0})
    run = client.get_run(first)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"units": "3"}
    assert run.data.tags["vfer.stage"] == "lstm"
    assert [(metric.step, metric.value) for metric in client.get_metric_history(first, "loss")] == [(1, 2.0), (2, 1.0)]
    assert not training.checkpoint.exists()
    assert (store / "mlruns" / first / "artifacts" / "note.txt").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note.txt"], "artifacts land where the process happened to run"


def test_a_finished_training_has_another_run_the_next_time_and_names_the_dvc_experiment(store: Path, client: "MlflowClient") -> None:
    ids = []
    for _ in range(2):
        with live.training(store, "lstm", {}, "twice") as training:
            ids.append(training.run.id)
    assert ids[0] != ids[1]
    assert client.get_run(ids[0]).data.tags["dvc.experiment"] == "quick-fox"


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_training_that_breaks_off_says_so_and_goes_on_in_the_same_run(
    error: type[BaseException], status: str, store: Path, client: "MlflowClient"
) -> None:
    with pytest.raises(error), live.training(store, "cnn", {}, status) as training:
        raise error
    assert client.get_run(training.run.id).info.status == status
    with live.training(store, "cnn", {}, status) as again:
        assert again.run.id == training.run.id
        assert client.get_run(training.run.id).info.status == "RUNNING"


def test_a_run_that_was_deleted_meanwhile_is_made_anew(store: Path, client: "MlflowClient") -> None:
    with pytest.raises(RuntimeError), live.training(store, "cnn", {}, "deleted") as training:
        raise RuntimeError
    client.delete_run(training.run.id)
    with live.training(store, "cnn", {"a": 1}, "deleted") as again:
        assert again.run.id != training.run.id
    assert client.get_run(again.run.id).data.params == {"a": "1"}


def test_of_two_equal_trainings_at_once_only_the_first_keeps_a_checkpoint(store: Path) -> None:
    with live.training(store, "cnn", {}, "both") as first, live.training(store, "cnn", {}, "both") as second:
        assert first.checkpoint is not None
        assert second.checkpoint is None
        assert first.run.id != second.run.id


def test_a_store_that_dies_meanwhile_costs_a_warning_and_no_training(store_copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    with live.training(store_copy, "cnn", {}, "dying") as training:
        training.on_epoch(0, {"loss": 2.0})
        (store_copy / "mlflow.db").write_bytes(b"no database any more" * 50_000)
        training.on_epoch(1, {"loss": 1.0})
        training.on_epoch(2, {"loss": 0.5})
    assert caplog.text.count("the training goes on, but its figures are no longer logged") == 1
    assert training.checkpoint is not None
    assert not training.checkpoint.exists()


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_down_is_one_line_within_half_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    start = time.monotonic()
    with pytest.raises(TrackingError) as excinfo, live.training(tmp_path, "cnn", {}, "down"):
        pytest.fail("the training began")
    assert time.monotonic() - start < 30
    assert str(excinfo.value).startswith(f"MLflow store {address} does not answer")
    assert "start the server, or unset MLFLOW_TRACKING_URI" in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_database_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError) as excinfo:
        tracking.connect(tmp_path)
    assert "file is not a database" in str(excinfo.value)
    assert "rename" in str(excinfo.value)
    assert "\n" not in str(excinfo.value)
