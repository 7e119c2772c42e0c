"""Maps a function over clips, one clip a job, in processes of this machine."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from vfer.errors import ClipError

AHEAD = 3  # jobs under way for each worker, so that none waits for the next


class Job(Protocol):
    """One clip's work; it is pickled into the worker."""

    @property
    def clip(self) -> str:
        """Name of the clip."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")


def died(clip: str) -> ClipError:
    """Returns why a clip is set aside that kills its worker each time."""
    return ClipError(f"{clip}: its worker died (crash or out of memory); check the file")


def each_clip(
    work: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> Iterator[tuple[J, R | ClipError]]:
    """Runs `executor.each_clip` in processes of this machine; where one dies, those that were under way run again, one at a time."""
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
