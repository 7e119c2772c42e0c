"""Checks of the repository: its params, detector, dataset, DVC remote and MLflow store."""

import importlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import yaml

from vfer import params
from vfer.cli.doctor.check import Verdict, check
from vfer.errors import DataError, ParamsError
from vfer.register import address, project, refusal, relocate

SECTIONS = {
    "labels": "vfer.data.catalogue.labels:LabelsParams",
    "split": "vfer.data.catalogue.split:SplitParams",
    "frames": "vfer.video.frames:FramesParams",
    "faces": "vfer.faces.params:FacesParams",
    "pretrain": "vfer.pretrain.params:PretrainParams",
    "cnn": "vfer.cnn.params:CnnParams",
    "tune": "vfer.cnn.params:TuneParams",
    "features": "vfer.data.tables.params:FeaturesParams",
    "lstm": "vfer.lstm.params:LstmParams",
    "evaluate": "vfer.evaluate.params:EvaluateParams",
    "register": "vfer.register.params:RegisterParams",
}


@check("params.yaml")
def parameters(root: Path) -> Verdict:
    """Does every section of params.yaml parse?"""
    path = root / "params.yaml"
    params.seed(path)
    for section, place in SECTIONS.items():
        module, name = place.split(":")
        params.load(path, section, getattr(importlib.import_module(module), name))
    return "ok", f"in order: seed, {', '.join(SECTIONS)}"


@check("detector")
def detector(root: Path) -> Verdict:
    """Which face detector is taken, and does it load from weights of the right hash?"""
    from vfer.faces import weights
    from vfer.faces.params import FacesParams

    section = params.load(root / "params.yaml", "faces", FacesParams)
    choice = weights.choose(section, root / "weights")
    choice.load(section)
    return "ok", f"{choice.name}, sha256 {choice.sha256[:12]} as expected ({choice.why})"


@check("data")
def data(root: Path) -> Verdict:
    """Are the dataset's tables there, the clips they list, and stills where the CNN is trained?"""
    from vfer.cnn.params import CnnParams
    from vfer.data.catalogue import manifest, places, stills
    from vfer.data.tables.params import FeaturesParams

    folder = root / "data"
    if (root / "data.dvc").is_file() and not folder.exists():
        return "fail", f"{folder} is missing, data.dvc tracks it", "run `dvc pull data.dvc`"
    clips = manifest.read(folder / manifest.FILE)
    pictures = stills.labels(folder / stills.FILE).num_rows
    if missing := [clip.path for clip in clips if not (folder / clip.path).is_file()]:
        raise DataError(f"{folder / missing[0]} and {len(missing) - 1} more clips are missing; run `dvc checkout data.dvc`")
    trained = params.load(root / "params.yaml", "cnn", CnnParams).weights == "trained"
    if not pictures and trained and params.load(root / "params.yaml", "features", FeaturesParams).source == "cnn":
        return "fail", f"{len(clips)} clips and no stills", "add stills with `vfer data add`, or set cnn.weights: shipped in params.yaml"
    if lacking := {clip.subject for clip in clips} - set(places.read(folder / places.FILE)["subject"]):
        return "warn", f"{folder / places.FILE} lacks {len(lacking)} subjects", "run `vfer data places`, so that splits keep them in place"
    return "ok", f"{len(clips)} clips and {pictures} stills"


@check("dvc")
def dvc(root: Path) -> Verdict:
    """Is this a DVC repository whose dataset is in the cache and has a remote to go to?"""
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            if not (root / "data.dvc").is_file():
                return "warn", "no dataset is tracked", "restore data.dvc with `git checkout data.dvc`, or use `vfer data add`"
            # The one key of the answer is the pointer's path from wherever the command was started.
            changes = next(iter(repo.status(targets=[str(root / "data.dvc")]).values()), None)
            remotes = {name: str(remote.get("url")) for name, remote in repo.config["remote"].items()}
            return _changes(changes) if changes else _remote(root, remotes, repo.config["core"].get("remote"))
    except NotDvcRepoError:
        return "fail", f"{root} is not a DVC repository", "give the repository's folder with --root"
    except LockError:
        return "warn", "another DVC command is running, so this was not checked", "run `vfer doctor` again when it has ended"


def _changes(changes: list[dict[str, dict[str, str]]]) -> Verdict:
    state = next((state for change in changes for state in change.get("changed outs", {}).values()), "changed")
    remedies = {
        "not in cache": "fetch it with `dvc pull data.dvc`",
        "deleted": "restore it with `dvc checkout data.dvc`",
    }
    keep = "keep the change with `dvc add data`, or undo it with `dvc checkout data.dvc --force`"
    return "fail" if state in remedies else "warn", f"the dataset of data.dvc is {state}", remedies.get(state, keep)


def _remote(root: Path, remotes: dict[str, str], default: str | None) -> Verdict:
    from vfer.data.catalogue import manifest
    from vfer.data.catalogue.manifest import SAMPLE

    out = yaml.safe_load((root / "data.dvc").read_bytes())["outs"][0]
    what, remote_name = f"the dataset {out['md5']} is in the cache", out.get("remote")
    if remote_name is None and default is None:
        return "warn", f"{what} alone: there is no default remote", "add one with `dvc remote add -d mine URL`, then `dvc push`"
    if remote_name is None:
        return "ok", f"{what}, and `dvc push` sends it to {default} ({remotes.get(str(default))})"
    if remote_name not in remotes:
        return "fail", f"data.dvc names the remote {remote_name}, which .dvc/config lacks", "restore it with `git checkout .dvc/config`"
    if sources := {clip.source for clip in manifest.read(root / "data" / manifest.FILE)} - {SAMPLE}:
        return "warn", f"data.dvc keeps {min(sources)} from `dvc push`", "delete the lines `remote:` and `push:` in data.dvc"
    return "ok", f"{what}: the embedded sample, from the remote {remote_name} ({remotes[remote_name]})"


@check("mlflow")
def mlflow(root: Path) -> Verdict:
    """Does the MLflow store answer, and does it hold vfer's experiment?"""
    uri, name = address.uri(root), _project(root)
    if path := address.database(uri):
        return _database(path, name, None if address.is_shared(root) else address.artifacts(root))
    if not uri.startswith(("http:", "https:", "databricks")):
        return "warn", f"{uri} was not checked, since MLflow would create its tables", "look with `mlflow experiments search`"
    return _server(uri, name)


def _project(root: Path) -> str:
    """Return the project's name in MLflow; where the params do not say it, what it is without them."""
    try:
        return project.name(root / "params.yaml", root)
    except ParamsError:
        return project.default(root)


def _database(path: Path, name: str, artifacts: Path | None) -> Verdict:
    if not path.is_file():
        return "ok", f"{path} does not exist yet; the first training creates it"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as database:
            query = "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments WHERE name = ?"
            row = database.execute(query, (name,)).fetchone()
            runs = database.execute("SELECT COUNT(*) FROM runs WHERE experiment_id = ?", (row[0] if row else -1,)).fetchone()[0]
    except sqlite3.Error as error:
        return "fail", f"{path} is not an MLflow database ({error})", "move it away; the next training creates a new one"
    if not row:
        return "ok", f"{path} has no experiment {name} yet; the first training creates it"
    if row[2] != "active":
        raise refusal.deleted(f"sqlite:///{path}", name, row[0])
    if artifacts and relocate.folder(row[1]) != artifacts:
        return "warn", f"artifacts go to {row[1]}, not to {artifacts}", "run `vfer relocate`; the next training does so, too"
    return "ok", f"{path}, {runs} runs"


def _server(uri: str, name: str) -> Verdict:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name(name)
    except MlflowException as error:
        raise refusal.unreachable(uri, error) from error
    return "ok", f"{uri} answers, {'and has the' if experiment else 'has no'} experiment {name}{'' if experiment else ' yet'}"
