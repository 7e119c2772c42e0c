"""The MLflow store: its connection and its locks."""

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from vfer import env
from vfer.errors import TrackingError
from vfer.register import address, refusal, relocate

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
LOCKED = 300  # most seconds that another process may take to make the store
ANSWER, UPLOAD = "20", "600"  # most seconds that the store may take to answer, and to take in a model


def connect(root: Path, project: str = "vfer") -> tuple["MlflowClient", str]:
    """Return a client of the store and the id of the project's experiment there; create both on first use.

    Raises `TrackingError` if the store does not answer within seconds.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", ANSWER)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # MLflow passes it on while it opens a database

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its errors reach the caller, and become one line
    logging.getLogger("alembic").setLevel(logging.WARNING)
    store, artifacts = address.uri(root), address.artifacts(root)
    try:
        with alone(root):  # workers that start together must not each create the database
            follow(root, project)
            mlflow.set_tracking_uri(store)
            client = mlflow.MlflowClient()
            experiment = _experiment(client, project, artifacts.as_uri() if artifacts else None)
            mlflow.set_experiment(experiment_id=experiment)
    except (MlflowException, SQLAlchemyError) as error:
        raise refusal.unreachable(store, error) from error
    os.environ.pop("MLFLOW_RUN_ID", None)  # of a job that started this process: its run is not the one of the experiment
    return client, experiment


@contextmanager
def alone(root: Path, name: str = ".lock", seconds: float = LOCKED) -> Iterator[None]:
    """Hold a lock of the repository at `root` for what two processes must not do at once; a negative number of seconds waits for ever.

    Raises `TrackingError` if the lock, or the database, may not be written.
    """
    path, database = (root / address.ARTIFACTS).resolve() / name, address.database(address.uri(root))
    lock = FileLock(path, timeout=seconds)
    try:
        path.parent.mkdir(exist_ok=True)
        if database is not None:
            _check_writable(database)
        lock.acquire()
    except Timeout as error:
        raise TrackingError(f"{path}: locked by another process for {seconds:g} s; wait until it has finished, then run again") from error
    except (OSError, NotImplementedError) as error:
        raise refusal.unwritable(Path(getattr(error, "filename", None) or path), error) from error
    try:
        yield
    finally:
        lock.release()


def _check_writable(database: Path) -> None:
    """Raise `OSError` if a database may not be written; MLflow would try for two minutes."""
    for path in (database, database.parent):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if not database.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(database.parent))


def follow(root: Path, project: str) -> relocate.Relocated | None:
    """Make the places in the repository's own store follow the repository, and log that; raise `TrackingError` if that fails."""
    path, artifacts = address.database(address.uri(root)), address.artifacts(root)
    if address.is_shared(root) or path is None or artifacts is None:
        return None
    try:
        moved = relocate.relocate(path, project, artifacts)
    except sqlite3.Error as error:
        raise refusal.unreachable(address.uri(root), error) from error
    if moved:
        remainder = f"; {moved.left} still point to {moved.former}, where their files are" if moved.left else ""
        log.warning(f"{path}: was in {moved.former.parent} before; {moved.moved} artifact locations now point to {artifacts}{remainder}")
    return moved


def _experiment(client: "MlflowClient", project: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(project)
    if not experiment:
        try:
            return str(client.create_experiment(project, artifact_location=artifacts))
        except MlflowException:
            experiment = client.get_experiment_by_name(project)  # another machine was quicker
            if not experiment:
                raise
    if experiment.lifecycle_stage != "active":
        raise refusal.deleted(client.tracking_uri, project, experiment.experiment_id)
    return str(experiment.experiment_id)


def again(call: Callable[[], T]) -> T:
    """Return what a call of the store does; repeat it where the first was refused as a bad request.

    MLflow looks for a row and inserts it if there is none. Of two machines at once one is refused, and finds the row when it asks again.
    """
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        return call()


def allow_uploads() -> None:
    """Let a request to the store that has answered take as long as a model's upload, unless the user has set a limit."""
    if os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") == ANSWER:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = UPLOAD


def experiment_tags() -> dict[str, str]:
    """Tags that lead from an MLflow run back to the DVC experiment and the commit that it starts from."""
    tags = {"dvc.experiment": env.experiment(), "dvc.baseline": env.experiment_baseline()}
    return {name: value for name, value in tags.items() if value}
