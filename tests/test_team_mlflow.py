"""A team's MLflow server, over PostgreSQL and S3: two machines that register at once, and who is champion then."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import project
import pytest
import servers
import toys
from project import Project

from vfer.cli.doctor import repository
from vfer.register import address, aliases, live, tracking
from vfer.register.gate import Verdict
from vfer.register.project import Names

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOME = Path(__file__).resolve().parents[1]
NAMES = ["vfer", "vfer-cnn", "vfer-lstm"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of MLflow and of what it imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@dataclass(frozen=True)
class Team:
    """A team's servers."""

    mlflow: str
    s3: servers.S3


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with servers.postgresql() as database, servers.s3() as s3:
        s3.make("mlflow")
        with servers.mlflow(database, "s3://mlflow/vfer", s3.environment | {"MLFLOW_S3_ENDPOINT_URL": s3.address}) as address:
            yield Team(address, s3)


@dataclass(frozen=True)
class Machine:
    """A machine of the team: its repository's outputs, and what `register` made of them."""

    project: Project
    record: dict[str, Any] = field(default_factory=dict)


def environment(team: Team, root: Path | None = None) -> dict[str, str]:
    """What a process on a team member's machine has: the server's address, and nothing of S3."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DVC_", "MLFLOW_"))}
    return variables | {"MLFLOW_TRACKING_URI": team.mlflow} | ({"DVC_ROOT": str(root)} if root else {})


@pytest.fixture(scope="module")
def machines(team: Team, tmp_path_factory: pytest.TempPathFactory) -> list[Machine]:
    """Two machines that have registered at the same time: the second one's model is the better one."""
    weak, good = (Project(tmp_path_factory.mktemp("machines") / name) for name in ("weak", "good"))
    weak.root.mkdir()
    project.make(weak.root)
    shutil.copytree(weak.root, good.root)
    weak.train(toys.constant_lstm, units=12)
    good.train(toys.good_lstm, units=66)
    words = ("--outputs", "--clips", "--data", "--weights", "--params", "--out")
    processes = []
    for machine in (weak, good):
        options = [word for pair in zip(words, map(str, machine.arguments()), strict=True) for word in pair]
        command = [sys.executable, "-m", "stages.register", *options]
        settings: dict[str, Any] = {"env": environment(team, machine.root), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        processes.append(subprocess.Popen(command, cwd=HOME, text=True, **settings))
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [Machine(it, json.loads((it.outputs / "register" / "register.json").read_text())) for it in (weak, good)]


@pytest.fixture
def client(team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "MlflowClient":
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.mlflow)
    return tracking.connect(tmp_path)[0]


def holders(client: "MlflowClient", alias: str) -> set[str]:
    """The runs whose models hold an alias."""
    return {str(client.get_model_version_by_alias(name, alias).run_id) for name in NAMES}


def test_both_experiments_are_there_in_one_experiment_of_mlflow(machines: list[Machine], client: "MlflowClient") -> None:
    number = client.get_experiment_by_name("vfer").experiment_id
    runs = client.search_runs([number], "tags.`vfer.kind` = 'experiment'")
    assert {run.info.run_id for run in runs} == {machine.record["run_id"] for machine in machines}
    assert {run.data.params["lstm.units"] for run in runs} == {"12", "66"}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_each_has_its_versions_and_the_better_one_is_champion_whoever_came_first(machines: list[Machine], client: "MlflowClient") -> None:
    weak, good = (machine.record for machine in machines)
    for name in NAMES:
        result = {str(version.version): version.run_id for version in client.search_model_versions(f"name = '{name}'")}
        assert result == {weak["versions"][name]: weak["run_id"], good["versions"][name]: good["run_id"]}
    assert good["champion"]
    assert holders(client, "champion") == {good["run_id"]}
    assert len(holders(client, "challenger")) == 1
    assert holders(client, "challenger") < {weak["run_id"], good["run_id"]}


def test_artifacts_lie_on_s3_and_nowhere_else(machines: list[Machine], client: "MlflowClient", team: Team) -> None:
    names = team.s3.objects("mlflow")
    for machine in machines:
        run = client.get_run(machine.record["run_id"])
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert f"vfer/{run.info.experiment_id}/{run.info.run_id}/artifacts/curves/lstm.png" in names
        assert [path for path in (machine.project.root / "mlruns").rglob("*") if not path.name.endswith(".lock")] == []
    assert sum(name.endswith("/pyfunc.py") for name in names) >= len(machines)


PREDICT = """
import json, sys
import mlflow
[answer] = mlflow.pyfunc.load_model("models:/vfer@champion").predict(sys.argv[1:])
print(json.dumps(answer.model_dump()))
"""


def test_the_champion_answers_on_a_machine_that_knows_only_the_server(machines: list[Machine], team: Team, tmp_path: Path) -> None:
    assert machines
    video = toys.render(tmp_path / "happy.mp4")
    variables = {name: value for name, value in environment(team).items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", PREDICT, str(video)]
    process = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout.splitlines()[-1])
    assert (answer["path"], answer["error"]) == (str(video), None)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_training_is_followed_on_the_server(client: "MlflowClient", tmp_path: Path) -> None:
    with live.training(tmp_path, "lstm", {"units": 3}, "team") as training:
        training.on_epoch(0, {"loss": 2.0})
        training.on_epoch(1, {"loss": 1.0})
    assert [metric.value for metric in client.get_metric_history(training.run.id, "loss")] == [2, 1]
    assert client.get_run(training.run.id).info.status == "FINISHED"


def test_doctor_finds_the_experiment_on_the_server(client: "MlflowClient", team: Team, tmp_path: Path) -> None:
    assert client.get_experiment_by_name("vfer")
    (tmp_path / "params.yaml").write_text("register: {name: vfer, significance: 0.05}")
    assert repository.mlflow(tmp_path).detail == f"{team.mlflow} answers, and has the experiment vfer"


def test_of_two_machines_that_make_the_experiment_at_once_both_get_the_same(client: "MlflowClient") -> None:
    there = client.get_experiment_by_name("vfer")
    answers = iter([None, there])
    late: Any = SimpleNamespace(get_experiment_by_name=lambda _: next(answers), create_experiment=client.create_experiment)
    assert tracking._experiment(late, "vfer", None) == there.experiment_id


def test_a_dataset_and_an_alias_that_two_set_first_at_once_are_set(machines: list[Machine], client: "MlflowClient", tmp_path: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput

    number = tracking.connect(tmp_path)[1]
    ids = [client.create_run(number).info.run_id for _ in range(2)]
    versions = [machine.record["versions"]["vfer"] for machine in machines]
    start = threading.Barrier(2, timeout=60)

    def set_all(who: int) -> None:
        for i in range(10):
            dataset = DatasetInput(Dataset("data", f"version-{i}", "dvc", "{}"))
            start.wait()
            tracking.again(partial(client.log_inputs, ids[who], [dataset]))
            start.wait()
            aliases._set(client, "vfer", f"alias-{i}", versions[who])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(set_all, range(2))) == [None, None]
    assert [len(client.get_run(run).inputs.dataset_inputs) for run in ids] == [10, 10]


@pytest.mark.parametrize(("code", "calls"), [("BAD_REQUEST", 2), ("TEMPORARILY_UNAVAILABLE", 1)])
def test_what_is_refused_as_a_bad_request_is_asked_for_once_more(code: str, calls: int) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    attempts = []

    def refuse() -> None:
        attempts.append(None)
        raise MlflowException("duplicate key", ErrorCode.Value(code))

    with pytest.raises(MlflowException):
        tracking.again(refuse)
    assert len(attempts) == calls


def test_only_the_repositorys_own_store_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not address.is_shared(tmp_path)
    own, another = (address.uri(root) for root in (tmp_path, tmp_path / "another"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own)  # as MLflow sets it when a stage connects
    assert not address.is_shared(tmp_path)
    for uri in ("http://mlflow.example.org", another):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert address.is_shared(tmp_path)


@pytest.mark.parametrize(("timeout", "then"), [(tracking.ANSWER, tracking.UPLOAD), ("7", "7")])
def test_a_model_may_take_longer_than_an_answer_unless_the_user_says_how_long(
    timeout: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", timeout)
    tracking.allow_uploads()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == then


class Registry:
    """The part of MLflow's registry that `settle` uses; of two models, the one of higher rank passes the gate."""

    def __init__(self, ranks: list[int], champion: bool) -> None:
        self.ranks, self.keys = ranks, [str(rank) for rank in ranks]
        self.aliases = {(name, "champion"): 0 for name in NAMES if champion}
        self.contenders = range(0 if champion else 1, len(ranks))

    def champion(self) -> int:
        return self.aliases["vfer", "champion"]

    def best(self) -> list[int]:
        """The versions that none beats."""
        return [number for number in self.contenders if self.ranks[number] == max(self.ranks[other] for other in self.contenders)]

    def version(self, name: str, number: int) -> SimpleNamespace:
        return SimpleNamespace(name=name, version=str(number), run_id=f"run-{number}", tags={"vfer.key": self.keys[number]})


class Peer(threading.Thread):
    """One machine's `settle`, which stops before each of its calls until it is told to go on."""

    def __init__(self, registry: Registry, number: int) -> None:
        super().__init__(daemon=True)
        self.registry, self.number = registry, number
        self.go, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.before, self.steps, self.takes = "", 0, 0
        self.awaits: dict[Peer, int] = {}
        self.outcome: Verdict | Exception | None = None

    def run(self) -> None:
        client: Any = self
        versions, key = dict.fromkeys(NAMES, str(self.number)), self.registry.keys[self.number]
        try:
            self.outcome = aliases.settle(client, Names("vfer"), versions, key, self.judge, aliases.PAUSE)
        except Exception as error:
            self.outcome = error
        self.before = "end"
        self.stopped.release()

    def judge(self, champion: Any) -> Verdict:
        self.stop("judge")
        ranks = self.registry.ranks
        return Verdict(ranks[self.number] > ranks[int(champion.version)], "")

    def stop(self, before: str) -> None:
        self.before = before
        self.stopped.release()
        self.go.acquire()

    def step(self) -> None:
        self.steps += 1
        self.go.release()
        self.stopped.acquire()

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.stop("take" if (name, alias) == ("vfer", "champion") else "set")
        self.takes += self.before == "take"
        self.registry.aliases[name, alias] = int(version)

    def get_model_version_by_alias(self, name: str, alias: str) -> SimpleNamespace:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

        self.stop("get")
        if (name, alias) not in self.registry.aliases:
            raise MlflowException("no such alias", RESOURCE_DOES_NOT_EXIST)
        return self.registry.version(name, self.registry.aliases[name, alias])

    def search_model_versions(self, query: str) -> list[SimpleNamespace]:
        self.stop("search")
        return [self.registry.version(name, int(query.split("-")[1].rstrip("'"))) for name in NAMES]


def meet(seed: int, *, twins: bool = False, patient: bool = True) -> tuple[Registry, list[Peer]]:
    """Run `settle` on two or three machines, or on two that have the same model, one call at a time, in a random order.

    An alias that was about to be set when a machine began to wait is set before that wait ends, if `patient`.
    """
    rng = random.Random(seed)
    ranks = [0, 1, 1] if twins else rng.sample(range(9), rng.choice([3, 4]))
    registry = Registry(ranks, champion=rng.random() < 0.5)
    peers = [Peer(registry, number) for number in range(1, len(registry.ranks))]
    for peer in peers:
        peer.start()
        peer.stopped.acquire()
    while busy := [peer for peer in peers if peer.before != "end"]:
        ready = [peer for peer in busy if all(other.steps > steps for other, steps in peer.awaits.items())]
        mover = rng.choice(ready)
        mover.step()
        takers = {other: other.steps for other in busy if other.before == "take" and other is not mover}
        mover.awaits = takers if patient and mover.before == "sleep" else {}
    return registry, peers


@pytest.fixture
def _scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "sleep", lambda _: threading.current_thread().stop("sleep"))


@pytest.mark.usefixtures("_scheduled")
def test_in_whatever_order_machines_settle_the_best_is_champion_and_each_alias_is_of_one_run() -> None:
    for seed in range(500):
        registry, peers = meet(seed)
        assert all(isinstance(peer.outcome, Verdict) for peer in peers), [peer.outcome for peer in peers]
        assert registry.champion() in registry.best(), seed
        for alias in ("champion", "challenger"):
            assert len({registry.aliases.get((name, alias)) for name in NAMES}) == 1, (seed, alias)
        winners = [peer.outcome.promoted for peer in peers if peer.number in registry.best()]
        assert all(winners), seed


@pytest.mark.usefixtures("_scheduled")
def test_machines_that_have_made_the_same_model_do_not_take_the_alias_from_each_other_again_and_again() -> None:
    for seed in range(200):
        registry, peers = meet(seed, twins=True)
        assert registry.champion() in registry.best()
        assert all(isinstance(peer.outcome, Verdict) and peer.outcome.promoted for peer in peers)
        assert [peer.takes for peer in peers] == [1, 1]


@pytest.mark.usefixtures("_scheduled")
def test_without_the_second_look_or_the_wait_some_order_crowns_a_worse_one() -> None:
    """The instrument itself: it must be able to find the wrong champion."""
    results = [meet(seed, patient=False)[0] for seed in range(500)]
    assert any(registry.champion() not in registry.best() for registry in results)
