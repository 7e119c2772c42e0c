"""`vfer doctor`'s checks, each on a repository that is healthy and on ones that are broken in one way."""

import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import servers
import yaml
from dvc.repo import Repo

from vfer import params
from vfer.cli.doctor import machine, repository
from vfer.cli.doctor.check import Check, check
from vfer.cli.doctor.examine import CHECKS, examine
from vfer.data.catalogue import manifest, places, stills
from vfer.data.catalogue.manifest import Clip
from vfer.errors import DataError
from vfer.faces import centerface

HOME = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC's own use of pygtrie


def fill(data: Path, source: str) -> None:
    """Write a dataset of one clip, which need not decode here, and one still."""
    clip = Clip(f"{source}/a", f"clips/{source}/a.mp4", "happy", f"{source}/1", f"{source}/a", source)
    (data / clip.path).parent.mkdir(parents=True)
    (data / clip.path).write_bytes(b"video")
    manifest.write(data / "clips.csv", [clip])
    places.update(data, [clip])
    png = bytes(cv2.imencode(".png", np.zeros((48, 48), np.uint8))[1])
    row = {"still": "s/1", "expression": "happy", "usage": "train", "source": source, "subject": None, "image": png}
    stills.write(data / "stills.parquet", pa.Table.from_pylist([row], stills.SCHEMA))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy repository of the user's own data, with a default remote that holds it."""
    root = tmp_path_factory.mktemp("doctor") / "repository"
    root.mkdir()
    shutil.copy(HOME / "params.yaml", root)
    fill(root / "data", "mine")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    with Repo.init(str(root)) as repo:
        repo.add(str(root / "data"))
    configure(root, default="store", store="../store")
    with Repo(str(root)) as repo:
        repo.push()
    return root


def configure(root: Path, default: str | None, **remotes: str) -> None:
    """Write DVC's config: its remotes by name, with paths relative to `.dvc`, and the default one."""
    lines = ["[core]", f"remote = {default}"] if default else []
    for name, url in remotes.items():
        lines += [f"['remote \"{name}\"']", f"url = {url}"]
    (root / ".dvc" / "config").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the MLflow store that a training of one run leaves, made by a process that runs elsewhere."""
    root = tmp_path_factory.mktemp("store")
    code = f"from pathlib import Path; from vfer.register import tracking; c, e = tracking.connect(Path({str(root)!r})); c.create_run(e)"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=elsewhere, env=environment, check=True)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path(shutil.copytree(template, tmp_path / "repository", symlinks=True))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not {".dvc", ".git"} & set(path.relative_to(root).parts)}


def test_a_healthy_repository_passes_every_check_stays_as_it_is_and_needs_no_tensorflow(root: Path) -> None:
    before = files(root)
    code = f"""
import json, sys
from dataclasses import asdict
from pathlib import Path
from vfer.cli.doctor.examine import examine
print(json.dumps([[asdict(check) for check in examine(Path({str(root)!r}))], sorted(sys.modules)]))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    checks, modules = json.loads(process.stdout)
    assert [item for item in checks if item["status"] == "fail"] == []
    names = ["python", "packages", "codecs", "params.yaml", "detector", "data", "dvc", "remote", "mlflow", "disk", "machine", "precision"]
    assert [item["name"] for item in checks] == names
    assert files(root) == before
    assert {"tensorflow", "keras", "mlflow"} & set(modules) == set()


def test_an_empty_folder_stops_no_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, folder in (("empty", tmp_path), ("missing", tmp_path / "missing")):
        checks = {item.name: item for item in examine(folder)}
        assert len(checks) == len(CHECKS), name
        assert all(checks[item].status == "fail" for item in ("params.yaml", "detector", "data", "dvc")), name
        assert all(item.remedy for item in checks.values() if item.status != "ok"), name
        assert not any("\n" in item.detail + item.remedy for item in checks.values()), name


def test_what_a_check_raises_becomes_its_result() -> None:
    @check("toy")
    def mendable(_root: Path) -> tuple[str, str]:
        raise DataError("a.csv: is empty; fill it; or not")

    @check("toy")
    def unexpected(_root: Path) -> tuple[str, str]:
        raise RuntimeError("one\ntwo")

    assert mendable(Path()) == Check("toy", "fail", "a.csv: is empty", "fill it; or not")
    assert unexpected(Path()).status == "fail"
    assert unexpected(Path()).detail == "RuntimeError: one two"


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=99", "vfer-has-no-such-package", "pyarrow", "pytest>99; extra == 'dev'"])
    verdict = machine.packages(Path())
    assert verdict.status == "fail"
    assert verdict.detail == f"expected numpy>=99 (found {np.__version__}), vfer-has-no-such-package (found None)"


def test_a_codec_that_does_not_decode_says_why(tmp_path: Path) -> None:
    assert machine._round_trip(tmp_path / "a.mkv", "ffv1", "ffv1") == ""
    assert machine._round_trip(tmp_path / "b.mkv", "no_such_codec", "ffv1").startswith("UnknownCodecError")
    assert machine._round_trip(tmp_path / "no" / "c.mkv", "ffv1", "ffv1").startswith("FileNotFoundError")


@pytest.mark.parametrize(
    ("precision", "has", "status", "remedy"),
    [
        ("float32", False, "ok", ""),
        ("float32", True, "ok", "cnn.precision: mixed_bfloat16 trains the CNN faster"),
        ("mixed_bfloat16", True, "ok", ""),
        ("mixed_bfloat16", False, "warn", "set cnn.precision: float32, unless a GPU trains"),
    ],
)
def test_the_precision_fits_the_processor(precision: str, has: bool, status: str, remedy: str) -> None:
    verdict = machine._advice(precision, has_bf16=has)
    assert (verdict[0], *verdict[2:]) == ((status, remedy) if remedy else (status,))


@pytest.mark.parametrize(("free", "status"), [(0.1e9, "fail"), (2e9, "warn"), (50e9, "ok")])
def test_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, status: str) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert machine.disk(tmp_path).status == status


def test_a_number_of_workers_that_is_none_fails_its_check_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFER_WORKERS", "many")
    assert machine.machine(tmp_path).status == "fail"


def test_every_section_of_params_has_its_class() -> None:
    assert {"seed", *repository.SECTIONS} == set(params.SECTIONS)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda content: content["frames"].update(fps=0), "frames.fps: input should be greater than 0, got 0"),
        (lambda content: content["faces"].update(colour=1), "faces.colour: unknown key"),
        (lambda content: content["cnn"].pop("epochs"), "cnn.epochs: field required"),
        (lambda content: content.update(seed=-1), "seed: expected an integer from 0"),
        (lambda content: content.pop("labels"), "labels: the section is missing"),
        (lambda content: content.update(foo={}), "foo: unknown section"),
    ],
)
def test_broken_params_are_named(root: Path, change: Callable[[dict], object], detail: str) -> None:
    assert repository.parameters(root).status == "ok"
    edit(root / "params.yaml", change)
    verdict = repository.parameters(root)
    assert verdict.status == "fail"
    assert verdict.detail.startswith(f"{root / 'params.yaml'}: {detail}")


def test_the_detector_is_named_with_its_hash(root: Path) -> None:
    verdict = repository.detector(root)
    assert verdict.status == "ok"
    assert verdict.detail.startswith(f"centerface, sha256 {centerface.SHA256[:12]} as expected")


def test_weights_of_another_hash_or_without_one_fail(root: Path) -> None:
    (root / "weights").mkdir()
    (root / "weights" / "scrfd.onnx").write_bytes(b"weights")
    without_hash = repository.detector(root)
    assert without_hash.status == "fail"
    assert "SHA256SUMS has no entry for it" in without_hash.detail
    (root / "weights" / "SHA256SUMS").write_text(f"{'0' * 64}  scrfd.onnx\n")
    with_other_hash = repository.detector(root)
    assert with_other_hash.status == "fail"
    assert f"its sha256 is {hashlib.sha256(b'weights').hexdigest()}, expected {'0' * 64}" in with_other_hash.detail
    assert with_other_hash.remedy.startswith("restore it with `dvc checkout`")


def test_data_counts_its_rows(root: Path) -> None:
    assert repository.data(root) == Check("data", "ok", "1 clips and 1 stills")


def test_data_that_lacks_a_clip_a_table_or_all_fails(root: Path) -> None:
    (root / "data" / "clips" / "mine" / "a.mp4").unlink()
    lacking = repository.data(root)
    assert (lacking.status, lacking.remedy) == ("fail", "run `dvc checkout data.dvc`")
    assert "a.mp4" in lacking.detail
    (root / "data" / "stills.parquet").unlink()
    assert repository.data(root).detail == f"{root / 'data' / 'stills.parquet'}: does not exist"
    shutil.rmtree(root / "data")
    assert repository.data(root).remedy == "run `dvc pull data.dvc`"


def test_data_without_stills_needs_the_shipped_network(root: Path) -> None:
    stills.write(root / "data" / "stills.parquet", stills.SCHEMA.empty_table())
    remedy = "add stills with `vfer data add`, or set cnn.weights: shipped in params.yaml"
    assert repository.data(root) == Check("data", "fail", "1 clips and no stills", remedy)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("weights: trained", "weights: shipped"))
    assert repository.data(root) == Check("data", "ok", "1 clips and 0 stills")


def test_data_in_cache_and_with_a_default_remote_is_fine(root: Path) -> None:
    verdict = repository.dvc(root)
    assert verdict.status == "ok"
    assert verdict.detail.endswith(f"is in the cache, and `dvc push` sends it to store ({root / 'store'})")


def test_data_without_a_default_remote_is_in_one_place_only(root: Path) -> None:
    configure(root, default=None, store="../store")
    verdict = repository.dvc(root)
    assert (verdict.status, verdict.remedy) == ("warn", "add one with `dvc remote add -d mine URL`, then `dvc push`")


def test_data_that_is_changed_deleted_or_not_cached(root: Path) -> None:
    (root / "data" / "more.txt").write_text("more")
    after_change = repository.dvc(root)
    assert (after_change.status, after_change.detail) == ("warn", "the dataset of data.dvc is modified")
    shutil.rmtree(root / "data")
    after_deletion = repository.dvc(root)
    assert (after_deletion.status, after_deletion.remedy) == ("fail", "restore it with `dvc checkout data.dvc`")
    shutil.rmtree(root / ".dvc" / "cache")
    without_cache = repository.dvc(root)
    assert (without_cache.status, without_cache.remedy) == ("fail", "fetch it with `dvc pull data.dvc`")
    with Repo(str(root)) as repo:
        repo.pull([str(root / "data.dvc")])
    assert repository.dvc(root).status == "ok"


def test_the_sample_comes_from_the_remote_that_data_dvc_names(root: Path) -> None:
    edit(root / "data.dvc", lambda content: content["outs"][0].update(remote="sample", push=False))
    unknown = repository.dvc(root)
    assert (unknown.status, unknown.remedy) == ("fail", "restore it with `git checkout .dvc/config`")
    configure(root, default=None, sample="../sample")
    own_data = repository.dvc(root)  # the user's own data under the sample's remote would never be pushed
    assert (own_data.status, own_data.detail) == ("warn", "data.dvc keeps mine from `dvc push`")
    shutil.rmtree(root / "data")
    fill(root / "data", "sample")
    with Repo(str(root)) as repo:
        repo.add(str(root / "data"))
    sample = repository.dvc(root)
    assert sample.status == "ok"
    assert sample.detail.endswith(f"the embedded sample, from the remote sample ({root / 'sample'})")


def test_a_folder_that_is_no_dvc_repository(tmp_path: Path) -> None:
    assert repository.dvc(tmp_path) == Check(
        "dvc", "fail", f"{tmp_path} is not a DVC repository", "give the repository's folder with --root"
    )


def test_a_repository_that_tracks_no_data(root: Path) -> None:
    (root / "data.dvc").unlink()
    assert repository.dvc(root).status == "warn"


def test_a_store_that_is_not_there_yet_is_fine_and_stays_absent(root: Path) -> None:
    assert repository.mlflow(root).status == "ok"
    assert not (root / "mlflow.db").exists()
    assert not (root / "mlruns").exists()


def test_the_store_s_artifacts_lie_beside_it_wherever_the_process_runs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert repository.mlflow(store).status == "ok"


def test_the_store_of_a_training_is_found_and_a_deleted_experiment_named(root: Path, store: Path) -> None:
    shutil.copy(store / "mlflow.db", root)
    after_move = repository.mlflow(root)
    assert (after_move.status, after_move.detail.endswith(f"not to {root / 'mlruns'}")) == ("warn", True)
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", ((root / "mlruns").as_uri(),))
        database.commit()
        assert repository.mlflow(root) == Check("mlflow", "ok", f"{root / 'mlflow.db'}, 1 runs")
        database.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
        database.commit()
    verdict = repository.mlflow(root)
    assert (verdict.status, verdict.detail) == ("fail", "the MLflow experiment vfer has been deleted")
    assert "mlflow experiments restore -x" in verdict.remedy


def test_a_file_that_is_no_database_fails(root: Path) -> None:
    (root / "mlflow.db").write_text("no database" * 100)
    verdict = repository.mlflow(root)
    assert verdict.status == "fail"
    assert "is not an MLflow database" in verdict.detail


def test_a_server_that_is_down_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    verdict = repository.mlflow(root)
    assert verdict.status == "fail"
    assert "does not answer" in verdict.detail
    assert "unset MLFLOW_TRACKING_URI" in verdict.remedy


@pytest.fixture
def server() -> Iterator[str]:
    """An MLflow server of one experiment, as far as a look at it goes."""
    experiment = {"experiment_id": "1", "name": "any", "artifact_location": "x", "lifecycle_stage": "active"}
    with servers.answering(200, json.dumps({"experiment": experiment}), "application/json") as address:
        yield address


def test_a_server_that_answers_is_fine(root: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert repository.mlflow(root) == Check("mlflow", "ok", f"{server} answers, and has the experiment repository")


def test_another_database_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://nowhere/mlflow")
    assert repository.mlflow(root).status == "warn"


def test_people_without_a_place_in_the_split_are_a_warning(root: Path) -> None:
    (root / "data" / "places.csv").write_text("kind,name,place\n")
    verdict = repository.data(root)
    assert (verdict.status, verdict.remedy) == ("warn", "run `vfer data places`, so that splits keep them in place")
    (root / "data" / "places.csv").unlink()
    assert "run `vfer data places`" in repository.data(root).detail + repository.data(root).remedy
