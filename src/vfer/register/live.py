"""The live MLflow run and the checkpoint of a training under way."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from vfer.files import write_bytes
from vfer.register import address, refusal, tracking

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mlflow import MlflowClient

Show = Callable[[int, Mapping[str, float]], None]


class LiveRun:
    """The MLflow run of a training under way; a store that stops answering costs its figures, never the training."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self._answers = True
        self.id = run_id

    def log(self, figures: Mapping[str, float], step: int = 0) -> None:
        """Log the figures of one epoch, or the closing ones."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        self._attempt(lambda: self._client.log_batch(self.id, metrics=metrics))

    def end(self, status: str) -> None:
        """End the run as `FINISHED`, `FAILED` or `KILLED`."""
        self._attempt(lambda: self._client.set_terminated(self.id, status=status))

    def _attempt(self, call: Callable[[], object]) -> None:
        from mlflow.exceptions import MlflowException

        if not self._answers:
            return
        try:
            call()
        except MlflowException as error:
            self._answers = False
            log.warning(f"the training goes on, but its figures are no longer logged: {refusal.one_line(error)}")


@dataclass(frozen=True)
class Training:
    """One training under way: its live run, its checkpoint folder, and what shows its epochs."""

    run: LiveRun
    checkpoint: Path | None
    show: Show

    def on_epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log and show the figures of an epoch, counted from 0."""
        self.run.log(figures, step=epoch + 1)
        self.show(epoch, figures)


@contextmanager
def training(
    root: Path, name: str, params: Mapping[str, object], key: str, project: str = "vfer", show: Show = lambda *_: None
) -> Iterator[Training]:
    """Open the live run and the checkpoint folder of the training that `key` names, and close both.

    A training that was killed finds its checkpoint and its run again; one that ends takes its checkpoint away.
    `show` is called with each epoch and its figures, as `Training.on_epoch` is.
    Raises `TrackingError`, before any work, where the store does not answer.
    """
    client, experiment = tracking.connect(root, project)
    from mlflow.exceptions import MlflowException

    folder = root / ".dvc" / "tmp" / "vfer" / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"), blocking=False)
    with ExitStack() as stack:
        alone = _enter(stack, lock)  # of two trainings of the same thing at once, only the first keeps a checkpoint
        try:
            run = LiveRun(client, _run_id(client, experiment, name, params, folder / "run" if alone else None))
        except MlflowException as error:
            raise refusal.unreachable(address.uri(root), error) from error
        try:
            yield Training(run, folder if alone else None, show)
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
            run = client.get_run(memory.read_text(encoding="utf-8"))
            if run.info.lifecycle_stage == "active":
                client.update_run(run.info.run_id, status="RUNNING")
                return str(run.info.run_id)
        except MlflowException:
            pass  # the run was deleted since; a new one takes its place
    tags = {"vfer.kind": "training", "vfer.stage": name} | tracking.experiment_tags()
    run = client.create_run(experiment, run_name=name, tags=tags)
    client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()])
    if memory:
        write_bytes(memory, run.info.run_id.encode())
    return str(run.info.run_id)
