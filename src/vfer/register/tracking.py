"""The MLflow store: where it is, that it answers, and the live run of a training."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout
from rich.progress import Progress

from vfer import env
from vfer.cli import console
from vfer.errors import TrackingError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
ANSWER, UPLOAD = "20", "600"  # most seconds that the store may take to answer, and to take in a model


def uri(root: Path) -> str:
    """Address of the MLflow store: the user's server where one is set, else SQLite in the repository at `root`."""
    return env.tracking_uri() or f"sqlite:///{(root / 'mlflow.db').resolve()}"


def is_shared(root: Path) -> bool:
    """Whether other machines may use the store, too: any but the repository's own."""
    return uri(root) != f"sqlite:///{(root / 'mlflow.db').resolve()}"


def connect(root: Path, project: str = "vfer") -> tuple["MlflowClient", str]:
    """Returns a client of the store and the id of the project's experiment there; makes both on first use.

    Raises `TrackingError` where the store does not answer within seconds.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", ANSWER)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # MLflow passes it on while it opens a database

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    address, served = uri(root), env.tracking_uri() is not None  # asked now: set_tracking_uri sets the variable, too
    artifacts = (root / "mlruns").resolve()
    artifacts.mkdir(exist_ok=True)
    try:
        # Workers that start together must not each create the database.
        with FileLock(artifacts / ".lock"):
            mlflow.set_tracking_uri(address)
            client = mlflow.MlflowClient()
            experiment = _experiment(client, project, None if served else artifacts.as_uri())
            mlflow.set_experiment(experiment_id=experiment)
    except (MlflowException, SQLAlchemyError) as error:
        raise TrackingError(_unreachable(address, error, served=served)) from error
    return client, experiment


def _experiment(client: "MlflowClient", project: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(project):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(project, artifact_location=artifacts))
    except MlflowException:
        if found := client.get_experiment_by_name(project):  # another machine was quicker
            return str(found.experiment_id)
        raise


def again(call: Callable[[], T]) -> T:
    """Returns what a call of the store does; makes it a second time where the first was refused as a bad request.

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
    """Lets a request to the store that has answered take as long as a model's upload, unless the user has set a limit."""
    if os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") == ANSWER:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = UPLOAD


def failed(root: Path, error: Exception, remedy: str) -> TrackingError:
    """Returns what to raise where the store failed half-way."""
    return TrackingError(f"MLflow at {uri(root)} failed ({_one_line(error)}); {remedy}")


def _unreachable(address: str, error: Exception, *, served: bool) -> str:
    own = "move that file away, and the next run makes a new one"
    remedy = "start the server, or unset MLFLOW_TRACKING_URI to use the repository's own" if served else own
    return f"MLflow store {address} does not answer ({_one_line(error)}); {remedy}"


class LiveRun:
    """The MLflow run of a training under way; a store that stops answering costs its figures, never the training."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self._answers = True
        self.id = run_id

    def log(self, figures: Mapping[str, float], step: int = 0) -> None:
        """Logs the figures of one epoch, or the closing ones."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        self._attempt(lambda: self._client.log_batch(self.id, metrics=metrics))

    def end(self, status: str) -> None:
        """Ends the run as `FINISHED`, `FAILED` or `KILLED`."""
        self._attempt(lambda: self._client.set_terminated(self.id, status=status))

    def _attempt(self, call: Callable[[], object]) -> None:
        from mlflow.exceptions import MlflowException

        if not self._answers:
            return
        try:
            call()
        except MlflowException as error:
            self._answers = False
            log.warning(f"the training goes on, but its figures are no longer logged: {_one_line(error)}")


class Training:
    """One training under way: its live run, its checkpoint folder, and its progress on the screen."""

    def __init__(self, name: str, run: LiveRun, checkpoint: Path | None, epochs: int, bar: Progress) -> None:
        self._name, self.run, self.checkpoint, self._epochs, self._bar = name, run, checkpoint, epochs, bar
        self._task = bar.add_task(name, total=epochs)
        self._shown = time.monotonic()

    def on_epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Logs and shows the figures of an epoch, counted from 0."""
        self.run.log(figures, step=epoch + 1)
        line = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self._bar.update(self._task, completed=epoch + 1, description=f"{self._name} {line}")
        if not console.console.is_terminal and time.monotonic() - self._shown > 15:
            self._shown = time.monotonic()
            console.console.print(f"{self._name}: epoch {epoch + 1} of {self._epochs}: {line}")


@contextmanager
def training(root: Path, name: str, params: Mapping[str, object], key: str, epochs: int, project: str = "vfer") -> Iterator[Training]:
    """Opens the live run and the checkpoint folder of the training that `key` names, and closes both.

    A training that was killed finds its checkpoint and its run again; one that ends takes its checkpoint away.
    Raises `TrackingError`, before any work, where the store does not answer.
    """
    client, experiment = connect(root, project)
    folder = root / ".dvc" / "tmp" / "vfer" / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"), blocking=False)
    with ExitStack() as stack:
        alone = _enter(stack, lock)  # of two trainings of the same thing at once, only the first keeps a checkpoint
        run = LiveRun(client, _run_id(client, experiment, name, params, folder / "run" if alone else None))
        try:
            with console.progress() as bar:
                yield Training(name, run, folder if alone else None, epochs, bar)
        except BaseException as error:
            run.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        run.end("FINISHED")
        if alone:
            shutil.rmtree(folder)


def _enter(stack: ExitStack, lock: FileLock) -> bool:
    try:
        stack.enter_context(lock)
    except Timeout:
        return False
    return True


def _run_id(client: "MlflowClient", experiment: str, name: str, params: Mapping[str, object], memory: Path | None) -> str:
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    if memory and memory.is_file():
        try:
            run = client.get_run(memory.read_text())
            if run.info.lifecycle_stage == "active":
                client.update_run(run.info.run_id, status="RUNNING")
                return str(run.info.run_id)
        except MlflowException:
            pass  # the run was deleted since; a new one takes its place
    tags = {"vfer.kind": "training", "vfer.stage": name} | experiment_tags()
    run = client.create_run(experiment, run_name=name, tags=tags)
    client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()])
    if memory:
        memory.write_text(run.info.run_id)
    return str(run.info.run_id)


def experiment_tags() -> dict[str, str]:
    """Tags that lead from an MLflow run back to the DVC experiment and the commit that it starts from."""
    tags = {"dvc.experiment": env.experiment(), "dvc.baseline": env.experiment_baseline()}
    return {name: value for name, value in tags.items() if value}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
