"""Find registered models without importing MLflow, which takes seconds: one query of its SQLite database, or one call of its server."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from vfer import env
from vfer.errors import TrackingError
from vfer.predict.models import server
from vfer.register import address as store_address
from vfer.register import project

CHAMPION = "champion"
REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+|latest))")
BY_ALIAS = """
    SELECT v.version, v.run_id, coalesce(v.storage_location, v.source) FROM registered_model_aliases a
    JOIN model_versions v ON v.name = a.name AND v.version = a.version WHERE a.name = ? AND a.alias = ?
"""
BY_VERSION = """
    SELECT version, run_id, coalesce(storage_location, source) FROM model_versions
    WHERE name = ? AND (? = 'latest' OR CAST(version AS TEXT) = ?) ORDER BY version DESC LIMIT 1
"""


@dataclass(frozen=True)
class Registered:
    """One registered version: its name, its alias where it was asked for by one, its MLflow run, and the address of its files."""

    name: str
    version: str
    run_id: str
    location: str
    alias: str = ""

    def __str__(self) -> str:
        return f"models:/{self.name}/{self.version}" + (f" ({self.alias})" if self.alias else "")


def store(start: Path) -> str | None:
    """Return the address of the MLflow store: the user's server where one is set, or the database of the repository around `start`."""
    around = [folder for folder in (env.repository(), start, *start.parents) if folder]
    if uri := env.tracking_uri():
        root = next((folder for folder in around if (folder / "dvc.yaml").is_file()), start)
        return store_address.anchored(uri, root)
    return next((store_address.local(folder) for folder in around if (folder / store_address.DATABASE).is_file()), None)


def project_name(start: Path) -> str:
    """Return the name of the registered models of the repository around `start`."""
    for folder in (env.repository(), start, *start.parents):
        if folder and (folder / "dvc.yaml").is_file():
            return project.name(folder / "params.yaml", folder)
    return project.DEFAULT


def find(reference: str, address: str) -> Registered | None:
    """Return the version that `models:/name@alias`, `models:/name/version` or `models:/name/latest` names; None if there is none.

    Raises `TrackingError` if the reference is malformed or the store at the address cannot be asked.
    """
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise TrackingError(f"{reference}: names no model; expected models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, version = match["name"], match["alias"] or "", match["version"] or ""
    scheme = urlparse(address).scheme
    if scheme == "sqlite":
        row = _query(database(address), name, alias, version)
    elif scheme in ("http", "https"):
        row = server.find(address, name, alias, version)
    else:
        row = _through_mlflow(address, name, alias, version)
    return Registered(name, str(row[0]), str(row[1] or ""), str(row[2]), alias) if row else None


def database(address: str) -> Path:
    """Return the file of an address `sqlite:///PATH`; raise `TrackingError` if it names none."""
    path = store_address.database(address)
    if path is None:
        raise TrackingError(f"{address}: names no file; expected sqlite:///PATH")
    return path


def _query(path: Path, name: str, alias: str, version: str) -> tuple[Any, ...] | None:
    if not path.is_file():
        raise TrackingError(f"{path}: there is no such MLflow database; run `dvc repro`, or name a model with --model")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            query, values = (BY_ALIAS, (name, alias)) if alias else (BY_VERSION, (name, version, version))
            row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
            return row
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # MLflow makes the registry's tables with the first run
            return None
        raise TrackingError(f"{path}: cannot be read ({error}); try again, or name a model folder with --model") from error
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"{path}: is not an MLflow database ({error}); name a model folder with --model") from error


def _through_mlflow(address: str, name: str, alias: str, version: str) -> tuple[Any, ...] | None:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient(tracking_uri=address, registry_uri=address)
    try:
        if alias:
            match = client.get_model_version_by_alias(name, alias)
        elif version == "latest":
            match = max(client.search_model_versions(f"name = '{name}'"), key=lambda one: int(one.version))
        else:
            match = client.get_model_version(name, version)
        return match.version, match.run_id, client.get_model_version_download_uri(name, match.version)
    except ValueError:
        return None
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise TrackingError(f"{address}: does not answer ({' '.join(str(error).split())}); name a model folder with --model") from error


def folder(version: Registered, address: str) -> Path:
    """Return a local folder with the files of a registered version; download them, once, if they are elsewhere."""
    location = urlparse(version.location)
    if location.scheme in ("", "file"):
        return _local(Path(unquote(location.path)), address)
    cached = env.cache() / "models" / server.key(address, version.location)
    if not (cached / "MLmodel").is_file():
        if location.scheme == "mlflow-artifacts":
            server.download(address, location.path, cached)
        else:
            _download(version, address, cached)
    return cached


def _local(path: Path, address: str) -> Path:
    """Return the present path of a model's files: beside the database in `mlruns`, where a repository was moved or copied."""
    if address.startswith("sqlite:") and "mlruns" in path.parts:
        tail = path.parts[len(path.parts) - path.parts[::-1].index("mlruns") :]
        moved = database(address).parent.joinpath("mlruns", *tail)
        if moved.is_dir():
            return moved
    return path


def _download(version: Registered, address: str, target: Path) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        mlflow.set_tracking_uri(address)
        with server.whole(target) as temporary:
            mlflow.artifacts.download_artifacts(artifact_uri=version.location, dst_path=str(temporary))
    except (MlflowException, OSError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise TrackingError(
            f"{version}: its files at {version.location} cannot be fetched ({reason}); name a model folder with --model"
        ) from error
