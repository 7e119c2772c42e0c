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

import project
import pytest
import servers
import toys
import yaml
from repository import STAGES, Repository, build

from vfer.cli.doctor.remote import PATIENCE, remote
from vfer.data.catalogue import manifest
from vfer.data.catalogue.manifest import Clip

KNOB = "register.significance=0.01"
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


def configure(repository: Repository, **options: str) -> None:
    """Give a repository the default remote `team`, as `dvc remote` does."""
    lines = "".join(f"    {name} = {value}\n" for name, value in options.items())
    (repository.root / ".dvc" / "config").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n{lines}")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's git server: a bare repository."""
    path = tmp_path_factory.mktemp("git") / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    return path


def share(repository: Repository, s3: servers.S3, origin: Path) -> None:
    """Commit what was run and push it, the files to S3 and the rest to git."""
    configure(repository, url="s3://team/vfer", endpointurl=s3.address)
    repository.commit()
    repository.run("dvc", "push", "--quiet")
    repository.run("git", "remote", "add", "origin", str(origin))
    repository.run("git", "push", "--quiet", "origin", "HEAD")


def clone(origin: Path, root: Path, s3: servers.S3) -> Repository:
    subprocess.run(["git", "clone", "--quiet", str(origin), str(root)], check=True)
    return Repository(root, s3.environment)


def dataset(data: Path) -> None:
    """Fill a dataset that no stage reads, since what comes of it is put in place."""
    (data / "clips").mkdir(parents=True)
    for name in ("clips/a.mp4", "clips.csv", "places.csv", "stills.parquet"):
        (data / name).write_text(name)


@pytest.fixture(scope="module")
def developer(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3, origin: Path) -> Repository:
    """The clone that shares what it has run; toy networks stand in for all that is trained, and for what that reads."""
    repository = build(tmp_path_factory.mktemp("developer"), s3.environment, dataset)
    outputs = repository.root / "outputs"
    project.fill(outputs, toys.dataset(outputs.parent / "toys", toys.clips(project.SUBJECTS, 3)).parent)
    project.Project(repository.root).train(toys.good_lstm)
    (outputs / "frames" / "clips").mkdir()
    for stage in ("frames", "faces", "pretrain"):
        (outputs / stage / "refused.csv").write_text("clip,reason\n")
    repository.run("dvc", "commit", "--quiet", "--force", "frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate")
    assert repository.ran("repro") == ["register"]
    share(repository, s3, origin)
    return repository


@pytest.fixture(scope="module")
def colleague(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3, origin: Path, developer: Repository) -> Repository:
    """A clone on another machine, after `dvc pull`."""
    assert developer.root.is_dir()
    repository = clone(origin, tmp_path_factory.mktemp("colleague") / "vfer", s3)
    repository.run("dvc", "pull", "--quiet")
    return repository


@pytest.fixture(scope="module")
def experiment(colleague: Repository) -> str:
    """An experiment of the colleague, run and shared, and on no branch."""
    assert colleague.ran("exp", "run", "--name", "shared", "--set-param", KNOB) == ["register"]
    colleague.run("git", "checkout", "--quiet", "--force", ".")
    colleague.run("dvc", "exp", "push", "--quiet", "--run-cache", "origin", "shared")
    return "shared"


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_colleague_gets_the_same_bytes_and_computes_nothing(developer: Repository, colleague: Repository) -> None:
    assert contents(colleague.root / "outputs") == contents(developer.root / "outputs")
    assert contents(colleague.root / "data") == contents(developer.root / "data")
    assert colleague.ran("repro") == []
    assert colleague.run("git", "status", "--porcelain") == ""
    assert not (colleague.root / "mlflow.db").exists()


def test_all_of_it_lies_in_the_bucket_under_the_url(developer: Repository, s3: servers.S3) -> None:
    md5 = yaml.safe_load((developer.root / "data.dvc").read_text())["outs"][0]["md5"]
    names = s3.objects("team")
    assert f"vfer/files/md5/{md5[:2]}/{md5[2:]}" in names
    assert all(name.startswith("vfer/") for name in names)


@pytest.mark.slow
def test_register_makes_the_run_in_a_store_that_never_saw_the_trainings(developer: Repository, colleague: Repository) -> None:
    """The trainings' ids come from the cache, and name runs of the developer's store."""
    assert colleague.ran("repro", "--force", "--single-item", "register") == ["register"]
    [theirs], [ours] = developer.experiments(), colleague.experiments()
    assert ours["vfer.key"] == theirs["vfer.key"]
    assert ours["id"] != theirs["id"]
    assert ours["vfer.run.cnn"] == theirs["vfer.run.cnn"] == "cnn-run"
    runs, champions = json.loads(colleague.run(sys.executable, "-W", "ignore", "-c", VERSIONS).splitlines()[-1])
    assert runs == [ours["id"]], "a run of a training that never happened here"
    assert set(champions.values()) == {ours["id"]}


def test_an_experiment_is_shared_without_a_branch(developer: Repository, experiment: str) -> None:
    developer.run("dvc", "exp", "pull", "--quiet", "origin", experiment)
    developer.run("dvc", "exp", "apply", "--quiet", experiment)
    assert yaml.safe_load((developer.root / "params.yaml").read_text())["register"]["significance"] == 0.01
    assert developer.ran("repro") == []


@pytest.mark.slow
def test_the_run_cache_spares_a_clone_that_knows_no_experiment(
    colleague: Repository, experiment: str, origin: Path, s3: servers.S3, tmp_path: Path
) -> None:
    assert experiment
    other = clone(origin, tmp_path / "vfer", s3)
    assert other.ran("exp", "run", "--pull", "--set-param", KNOB) == []
    assert contents(other.root / "outputs") == contents(colleague.root / "outputs")


@pytest.mark.slow
def test_a_pipeline_that_trained_is_shared_whole(tmp_path: Path, s3: servers.S3) -> None:
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(origin)], check=True)
    (tmp_path / "trained").mkdir()
    first = build(tmp_path / "trained", s3.environment)
    assert sorted(first.ran("repro")) == sorted(STAGES)
    share(first, s3, origin)
    other = clone(origin, tmp_path / "other", s3)
    other.run("dvc", "pull", "--quiet")
    assert contents(other.root / "outputs") == contents(first.root / "outputs")
    assert other.ran("repro") == []
    assert other.ran("exp", "run", "--set-param", "lstm.units=6") == ["lstm", "evaluate", "register"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a dataset alone."""
    root = tmp_path_factory.mktemp("template")
    repository = Repository(root)
    repository.run("git", "init", "--quiet")
    repository.run("dvc", "init", "--quiet")
    (root / "data" / "clips" / "sample").mkdir(parents=True)
    (root / "data" / "clips" / "sample" / "a.mp4").write_bytes(b"a rendered clip")
    manifest.write(root / "data" / "clips.csv", [Clip("sample/a", "clips/sample/a.mp4", "happy", "sample/1", "sample/a", "sample")])
    repository.run("dvc", "add", "--quiet", "data")
    return root


@pytest.fixture
def light(template: Path, tmp_path: Path, s3: servers.S3) -> Repository:
    """A repository of a dataset alone, whose remote answers and is empty."""
    repository = Repository(Path(shutil.copytree(template, tmp_path / "light")), s3.environment)
    configure(repository, url=f"s3://team/{tmp_path.name}", endpointurl=s3.address)
    return repository


@pytest.mark.slow
def test_the_sample_stays_out_of_the_teams_remote_and_ones_own_data_goes_there(light: Repository, s3: servers.S3, tmp_path: Path) -> None:
    with (light.root / ".dvc" / "config").open("a") as stream:
        stream.write("['remote \"sample\"']\n    url = ../sample\n")
    light.run("dvc", "push", "--quiet", "--remote", "sample")
    with (light.root / "data.dvc").open("a") as stream:
        stream.write("  remote: sample\n  push: false\n")
    before, sample = s3.objects("team"), contents(light.root / "sample")
    light.run("dvc", "push")
    assert s3.objects("team") == before

    (tmp_path / "mine" / "happy").mkdir(parents=True)
    toys.render(tmp_path / "mine" / "happy" / "anna_1.mp4")
    light.run("vfer", "data", "add", "folder", str(tmp_path / "mine"), "--source", "mine")
    light.commit()
    light.run("dvc", "push")
    assert contents(light.root / "sample") == sample
    other = clone(light.root, tmp_path / "other", s3)
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
def doctor(light: Repository, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What `vfer doctor` says of the light repository's remote, in the environment of its commands."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in light.environment.items():
        monkeypatch.setenv(name, value)
    return SimpleNamespace(of=lambda: remote(light.root), drop=monkeypatch.delenv)


def test_doctor_tells_whether_the_remote_holds_the_dataset(light: Repository, doctor: SimpleNamespace) -> None:
    lacking = doctor.of()
    assert (lacking.status, lacking.remedy) == ("warn", "run `dvc push`")
    light.run("dvc", "push", "--quiet")
    verdict = doctor.of()
    assert (verdict.status, verdict.detail.split(") ")[1]) == ("ok", "answers and holds the dataset")


def test_a_bucket_that_is_missing_is_named(light: Repository, s3: servers.S3, doctor: SimpleNamespace) -> None:
    configure(light, url="s3://none/vfer", endpointurl=s3.address)
    assert "The specified bucket does not exist" in light.run("dvc", "push", fails=True)
    verdict = doctor.of()
    assert (verdict.status, verdict.detail) == ("fail", "team (s3://none/vfer): The specified bucket does not exist")
    assert verdict.remedy == "fix url, endpointurl or credentials of the remote team: docs/sharing.md"


def test_credentials_that_are_missing_are_named(light: Repository, s3: servers.S3, doctor: SimpleNamespace) -> None:
    for name in servers.KEYS:
        doctor.drop(name)
    bare = Repository(light.root, {name: value for name, value in s3.environment.items() if name not in servers.KEYS})
    assert "Unable to locate credentials" in bare.run("dvc", "push", fails=True)
    assert doctor.of().detail.endswith(": Unable to locate credentials")


def test_an_endpoint_that_is_down_or_silent_is_told_quickly(light: Repository, doctor: SimpleNamespace) -> None:
    configure(light, url="s3://team/vfer", endpointurl="http://127.0.0.1:9")
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in doctor.of().detail
    with silent() as address:
        configure(light, url="s3://team/vfer", endpointurl=address)
        start = time.monotonic()
        assert doctor.of().detail.endswith(f": does not answer within {PATIENCE} seconds")
        assert time.monotonic() - start < 3 * PATIENCE
