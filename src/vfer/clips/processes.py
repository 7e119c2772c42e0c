"""Map a function over clips, one clip per job, in processes of this machine."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from pickle import PicklingError
from queue import SimpleQueue
from threading import Lock
from typing import Any, Generic

from vfer.clips.attempt import J, R, attempt, died, late
from vfer.errors import ClipError, VferError

AHEAD = 3  # jobs under way for each worker, so that none waits for the next
TRIES = 2  # a clip whose worker died so often is set aside
STARTS = 3  # attempts to start a worker process


def each_clip(
    work: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
    seconds: float | None,
) -> Generator[tuple[J, R | ClipError], None, None]:
    """Run `executor.each_clip` in processes of this machine; a clip whose worker dies is tried again, and costs only itself."""
    if not jobs:
        return
    queue = deque(jobs)
    count = min(workers, len(jobs))
    with _workers([_WorkerProcess(work, initializer, initargs, seconds) for _ in range(count)]) as submit:
        pending: dict[Future[R | ClipError], J] = {}
        while queue or pending:
            while queue and len(pending) < AHEAD * workers:
                job = queue.popleft()
                pending[submit(job)] = job
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()


@contextmanager
def _workers(workers: "list[_WorkerProcess[J, R]]") -> Iterator[Callable[[J], "Future[R | ClipError]"]]:
    """Give a function that hands a job to the next idle worker, each of which is waited for by a thread."""
    idle: SimpleQueue[_WorkerProcess[J, R]] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def outcome(job: J) -> R | ClipError:
        worker = idle.get()
        try:
            return worker.outcome(job)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(workers)) as threads:
        try:
            yield lambda job: threads.submit(outcome, job)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.stop()  # after an error nothing is waited for: files appear whole or not at all


class _DeadWorkerError(Exception):
    """The worker process has ended."""


class _WorkerProcess(Generic[J, R]):
    """A worker process with a pipe of its own, so that its death breaks nothing that others use and is known to be this job's.

    Pools whose workers share one pipe lose a job whose worker dies before the pool has read that it took it.
    """

    def __init__(
        self, work: Callable[[J], R], initializer: Callable[..., None] | None, initargs: tuple[Any, ...], seconds: float | None
    ) -> None:
        self._arguments = (work, initializer, initargs)
        self._seconds = seconds
        self._lock = Lock()
        self._stopped = False
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None

    def outcome(self, job: J) -> R | ClipError:
        """Return what the work gives for a job, or why its clip is set aside; raise what concerns all clips."""
        for _ in range(TRIES):
            pipe = self._started()
            try:
                pipe.send(job)
                if not pipe.poll(self._seconds):
                    self._end()
                    return late(job.clip, self._seconds or 0)
                result: R | ClipError = self._received(pipe)
            except _DeadWorkerError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                self._end()
                continue
            return result
        return died(job.clip)

    def stop(self) -> None:
        """End the process for good, whatever it does."""
        with self._lock:
            self._stopped = True
            if self._process:
                self._process.kill()

    def _started(self) -> "Connection[Any, Any]":
        """Return the pipe to a process that lives and has run the initializer."""
        if self._pipe and self._process and self._process.is_alive():
            return self._pipe
        self._end()
        for _ in range(STARTS):
            try:
                pipe = self._start()
            except OSError:  # there is no memory for it
                continue
            try:
                self._received(pipe)
            except _DeadWorkerError:
                continue
            return pipe
        raise VferError("worker processes die before they start; free some memory, or set VFER_WORKERS=1")

    def _start(self) -> "Connection[Any, Any]":
        context = multiprocessing.get_context("spawn")  # forking a process that holds threads can deadlock
        self._pipe, theirs = context.Pipe()
        with self._lock, theirs:
            if self._stopped:
                raise VferError("the workers are stopped")
            self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
            self._process.start()
        return self._pipe

    def _received(self, pipe: "Connection[Any, Any]") -> Any:
        try:
            error, value = pipe.recv()
        except (EOFError, OSError) as end:  # between two messages, or within one
            self._end()
            raise _DeadWorkerError from end
        if error is not None:
            raise error
        return value

    def _end(self) -> None:
        with self._lock:
            if self._process and self._process.pid:
                self._process.kill()
                self._process.join()
            self._process = None
        if self._pipe:
            self._pipe.close()
            self._pipe = None


def _serve(
    pipe: "Connection[Any, Any]", work: Callable[[J], R], initializer: Callable[..., None] | None, initargs: tuple[Any, ...]
) -> None:
    """Answer in a worker process: first that it is ready, then each job, always with a pair of an error and a value."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone answers it
    try:
        error, value = _called(initializer, *initargs) if initializer else (None, None)
        _send(pipe, error, value)
        while error is None:
            _send(pipe, *_called(attempt, work, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended
        return


def _called(function: Callable[..., Any], *args: Any) -> tuple[Exception | None, Any]:
    try:
        return None, function(*args)
    except Exception as error:
        return error, None


def _send(pipe: "Connection[Any, Any]", error: Exception | None, value: Any) -> None:
    """Send an error with its traceback, or a value, or why that cannot be pickled."""
    try:
        pipe.send((error and ExceptionWithTraceback(error, error.__traceback__), value))
    except (PicklingError, TypeError, AttributeError) as unpicklable:
        pipe.send((unpicklable, None))
