"""A team's DVC remote on S3: what one clone pushes, another pulls and does not compute again."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import servers
import toys
import yaml
from repository import Repository, build

from vfer import manifest
from vfer.doctor.remote import PATIENCE, remote
from vfer.manifest import Clip

URL = "s3://team/vfer"
SHARED = "evaluate.resamples=21"  # a knob that trains nothing
VERSIONS = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
runs = [run.info.run_id for run in client.search_runs(["1"])]
print(json.dumps([runs, {name: client.get_model_version_by_alias(name, "champion").run_id for name in ("vfer", "vfer-cnn", "vfer-lstm")}]))
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[servers.S3]:
    with servers.s3() as server:
        server.make("team")
        yield server


def connect(repository: Repository, s3: servers.S3, url: str = URL) -> None:
    """Gives a repository the team's remote, as docs/sharing.md says."""
    repository.run("dvc", "remote", "add", "--force", "--default", "team", url)
    repository.run("dvc", "remote", "modify", "team", "endpointurl", s3.address)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's git server: a bare repository."""
    path = tmp_path_factory.mktemp("git") / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def developer(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3, origin: Path) -> Repository:
    """The clone that runs the pipeline, and shares it."""
    repository = build(tmp_path_factory.mktemp("developer"), s3.environment)
    connect(repository, s3)
    assert len(repository.ran("repro")) == 7
    repository.commit()
    repository.run("dvc", "push", "--quiet")
    repository.run("git", "remote", "add", "origin", str(origin))
    repository.run("git", "push", "--quiet", "origin", "HEAD")
    return repository


@pytest.fixture(scope="module")
def experiment(developer: Repository) -> str:
    """An experiment of the developer, run and shared but on no branch."""
    assert developer.ran("exp", "run", "--name", "shared", "--set-param", SHARED) == ["evaluate", "register"]
    developer.run("git", "checkout", "--quiet", "--force", ".")
    developer.run("dvc", "exp", "push", "origin", "shared")
    return "shared"


def clone(origin: Path, root: Path, environment: dict[str, str]) -> Repository:
    subprocess.run(["git", "clone", "--quiet", str(origin), str(root)], check=True)
    return Repository(root, environment)


@pytest.fixture(scope="module")
def colleague(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3, origin: Path, developer: Repository) -> Repository:
    """A clone on another machine, after `dvc pull`."""
    assert developer.root.is_dir()
    repository = clone(origin, tmp_path_factory.mktemp("colleague") / "vfer", s3.environment)
    repository.run("dvc", "pull", "--quiet")
    return repository


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_colleague_gets_the_same_bytes_and_computes_nothing(developer: Repository, colleague: Repository) -> None:
    assert contents(colleague.root / "outputs") == contents(developer.root / "outputs")
    assert contents(colleague.root / "data") == contents(developer.root / "data")
    assert colleague.ran("repro") == []
    assert "up to date" in colleague.run("dvc", "status")
    assert colleague.run("git", "status", "--porcelain") == ""
    assert not (colleague.root / "mlflow.db").exists()


def test_all_of_it_lies_in_the_bucket_under_the_url(developer: Repository, s3: servers.S3) -> None:
    md5 = yaml.safe_load((developer.root / "data.dvc").read_text())["outs"][0]["md5"]
    names = s3.objects("team")
    assert f"vfer/files/md5/{md5[:2]}/{md5[2:]}" in names
    assert all(name.startswith("vfer/") for name in names)


def test_register_makes_the_run_in_a_store_that_never_saw_the_trainings(developer: Repository, colleague: Repository) -> None:
    """The trainings' ids come from the cache, and name runs of the developer's store."""
    assert colleague.ran("repro", "--force", "--single-item", "register") == ["register"]
    [theirs], [ours] = developer.experiments(), colleague.experiments()
    assert ours["vfer.key"] == theirs["vfer.key"]
    assert ours["id"] != theirs["id"]
    trained = json.loads((colleague.root / "outputs" / "cnn" / "run.json").read_text())["run_id"]
    assert ours["vfer.run.cnn"] == theirs["vfer.run.cnn"] == trained
    runs, champions = json.loads(colleague.run(sys.executable, "-W", "ignore", "-c", VERSIONS).splitlines()[-1])
    assert runs == [ours["id"]], "a run of a training that never happened here"
    assert set(champions.values()) == {ours["id"]}
    assert colleague.ran("repro") == []


def test_a_knob_runs_only_what_follows(colleague: Repository) -> None:
    assert colleague.ran("exp", "run", "--temp", "--set-param", "evaluate.resamples=22") == ["evaluate", "register"]


def test_an_experiment_is_shared_without_a_branch(colleague: Repository, experiment: str) -> None:
    colleague.run("git", "checkout", "--quiet", "--force", ".")
    assert experiment in colleague.run("dvc", "exp", "list", "origin")
    colleague.run("dvc", "exp", "pull", "origin", experiment)
    colleague.run("dvc", "exp", "apply", experiment)
    assert yaml.safe_load((colleague.root / "params.yaml").read_text())["evaluate"]["resamples"] == 21
    assert colleague.ran("repro") == []


def test_the_run_cache_spares_what_is_on_no_branch_and_in_no_experiment(
    developer: Repository, experiment: str, origin: Path, s3: servers.S3, tmp_path: Path
) -> None:
    assert experiment
    developer.run("dvc", "push", "--quiet", "--run-cache")
    other = clone(origin, tmp_path / "vfer", s3.environment)
    other.run("dvc", "pull", "--quiet", "--run-cache")
    assert other.ran("exp", "run", "--set-param", SHARED) == []
    assert other.metrics("evaluate") != developer.metrics("evaluate")


@pytest.fixture
def light(tmp_path: Path, s3: servers.S3) -> Repository:
    """A repository of a dataset alone, with the team's remote and nothing on it."""
    root = tmp_path / "light"
    (root / "data" / "clips" / "sample").mkdir(parents=True)
    repository = Repository(root, s3.environment)
    repository.run("git", "init", "--quiet")
    repository.run("dvc", "init", "--quiet")
    (root / "data" / "clips" / "sample" / "a.mp4").write_bytes(b"a rendered clip")
    manifest.write(root / "data" / "clips.csv", [Clip("sample/a", "clips/sample/a.mp4", "happy", "sample/1", "sample/a", "sample")])
    repository.run("dvc", "add", "--quiet", "data")
    connect(repository, s3, f"s3://team/{tmp_path.name}")
    return repository


def test_the_sample_stays_out_of_the_teams_remote_and_ones_own_data_goes_there(light: Repository, s3: servers.S3, tmp_path: Path) -> None:
    light.run("dvc", "remote", "add", "sample", str(light.root / "sample"))
    light.run("dvc", "push", "--quiet", "--remote", "sample")
    with (light.root / "data.dvc").open("a") as stream:
        stream.write("  remote: sample\n  push: false\n")
    before, sample = s3.objects("team"), contents(light.root / "sample")
    light.run("dvc", "push")
    assert s3.objects("team") == before

    toys.render(tmp_path / "mine" / "happy" / "anna_1.mp4")
    light.run("vfer", "data", "add", "folder", str(tmp_path / "mine"), "--source", "mine")
    light.commit()
    light.run("dvc", "push")
    assert contents(light.root / "sample") == sample
    other = clone(light.root, tmp_path / "other", s3.environment)
    shutil.rmtree(light.root)
    other.run("dvc", "pull", "--quiet")
    assert [clip.clip for clip in manifest.read(other.root / "data" / "clips.csv")] == ["mine/happy/anna_1"]
    assert (other.root / "data" / "clips" / "mine" / "happy" / "anna_1.mp4").read_bytes() == (
        tmp_path / "mine" / "happy" / "anna_1.mp4"
    ).read_bytes()


def test_credentials_of_the_local_config_do_and_stay_out_of_git(light: Repository, s3: servers.S3) -> None:
    bare = Repository(light.root, {name: value for name, value in s3.environment.items() if "KEY" not in name})
    bare.run("dvc", "remote", "modify", "--local", "team", "access_key_id", "nobody")
    bare.run("dvc", "remote", "modify", "--local", "team", "secret_access_key", "nothing")
    bare.run("dvc", "push")
    bare.commit()
    assert "config.local" not in bare.run("git", "ls-files")
    assert "nothing" in (bare.root / ".dvc" / "config.local").read_text()


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def told(light: Repository, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What `vfer doctor` says of the light repository's remote, in the environment of its commands."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in light.environment.items():
        monkeypatch.setenv(name, value)
    return SimpleNamespace(of=lambda: remote(light.root), drop=monkeypatch.delenv)


def test_doctor_tells_whether_the_remote_holds_the_dataset(light: Repository, told: SimpleNamespace) -> None:
    lacking = told.of()
    assert (lacking.status, lacking.remedy) == ("warn", "run `dvc push`")
    light.run("dvc", "push", "--quiet")
    found = told.of()
    assert (found.status, found.detail.split(") ")[1]) == ("ok", "answers and holds the dataset")


def test_a_bucket_that_is_missing_is_named(light: Repository, told: SimpleNamespace) -> None:
    light.run("dvc", "remote", "modify", "team", "url", "s3://none/vfer")
    assert "The specified bucket does not exist" in light.run("dvc", "push", fails=True)
    found = told.of()
    assert (found.status, found.detail) == ("fail", "team (s3://none/vfer): The specified bucket does not exist")
    assert found.remedy == "mend url, endpointurl or credentials of the remote team: docs/sharing.md"


def test_credentials_that_are_missing_are_named(light: Repository, s3: servers.S3, told: SimpleNamespace) -> None:
    for name in servers.KEYS:
        told.drop(name)
    bare = Repository(light.root, {name: value for name, value in s3.environment.items() if name not in servers.KEYS})
    assert "Unable to locate credentials" in bare.run("dvc", "push", fails=True)
    assert told.of().detail.endswith(": Unable to locate credentials")


def test_an_endpoint_that_is_down_or_silent_is_told_quickly(light: Repository, told: SimpleNamespace) -> None:
    light.run("dvc", "remote", "modify", "team", "endpointurl", "http://127.0.0.1:9")
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in told.of().detail
    with silent() as address:
        light.run("dvc", "remote", "modify", "team", "endpointurl", address)
        started = time.monotonic()
        assert told.of().detail.endswith(f": does not answer within {PATIENCE} seconds")
        assert time.monotonic() - started < 3 * PATIENCE
