"""Maps a function over clips, one clip a job: in processes of this machine, or on a Ray cluster where one is set."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from vfer import env
from vfer.errors import ClipError, ClusterError

AHEAD = 3  # jobs under way for each worker, so that none waits for the next


class Job(Protocol):
    """One clip's work; it is pickled into the worker."""

    @property
    def clip(self) -> str:
        """Name of the clip."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")


def each_clip(
    work: Callable[[J], R],
    jobs: Sequence[J],
    *,
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Iterator[tuple[J, R | ClipError]]:
    """Yields each job with its result, or with the `ClipError` that sets its clip aside, in the order of completion.

    At most a few jobs a worker are under way at once, so memory does not grow with their number. A worker that dies
    (a decoder that crashes) takes no other clip with it: the jobs that were under way run again, and the one that kills its
    worker each time is set aside. Other exceptions of `work`, and those of `initializer`, are raised; they, and a loop
    that is left early, drop what has not begun. With `VFER_RAY_ADDRESS` set, the cluster's CPUs do the work instead.
    """
    address = env.ray_address()
    if address is None:
        return _each_here(work, jobs, workers, initializer, initargs)
    try:
        from vfer import cluster
    except ModuleNotFoundError as error:
        raise ClusterError("VFER_RAY_ADDRESS is set, and Ray is not installed; install vfer[ray], or unset it") from error
    return cluster.each_clip(address, work, jobs, workers=workers, initializer=initializer, initargs=initargs)


def died(clip: str) -> ClipError:
    """Returns why a clip is set aside that kills its worker each time."""
    return ClipError(f"{clip}: its worker died (crash or out of memory); check the file")


def _each_here(
    work: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> Iterator[tuple[J, R | ClipError]]:
    """Runs the jobs in processes of this machine; where one dies, those that were under way run again, one at a time."""
    queue = list(reversed(jobs))
    suspects: list[J] = []
    while queue:
        with _pool(min(workers, len(queue)), initializer, initargs) as pool:
            pending: dict[Future[R], J] = {}
            try:
                while queue or pending:
                    while queue and len(pending) < AHEAD * workers:
                        pending[pool.submit(_work, work, queue[-1])] = queue[-1]
                        queue.pop()
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        result = _result(future)
                        yield pending.pop(future), result
            except BrokenProcessPool:
                suspects.extend(pending.values())
    while suspects:
        with _pool(1, initializer, initargs) as pool:
            dead = False
            while suspects and not dead:
                job = suspects.pop(0)
                try:
                    outcome = _result(pool.submit(_work, work, job))
                except BrokenProcessPool:
                    dead, outcome = True, died(job.clip)
                yield job, outcome


@contextmanager
def _pool(workers: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")  # forking a process that holds threads can deadlock
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_Worker.start, initargs=(initializer, initargs))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, only what already runs is waited for


class _Worker:
    """What a worker process knows: how its initializer failed, since a pool would report that as a crash of every clip."""

    error: Exception | None = None

    @classmethod
    def start(cls, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone answers it
        try:
            if initializer:
                initializer(*initargs)
        except Exception as error:
            cls.error = error


def _work(work: Callable[[J], R], job: J) -> R:
    if _Worker.error:
        raise _Worker.error
    return work(job)


def _result(future: Future[R]) -> R | ClipError:
    try:
        return future.result()
    except ClipError as error:
        return error
