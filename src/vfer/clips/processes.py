"""Maps a function over clips, one clip a job, in processes of this machine."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from pebble import ProcessExpired, ProcessPool

from vfer.clips.attempt import J, R, attempt, died, late
from vfer.errors import ClipError, VferError

AHEAD = 3  # jobs under way for each worker, so that none waits for the next
TRIES = 2  # a clip whose worker died so often is set aside
BREAKS = 3  # pools that end before their first result


def each_clip(
    work: Callable[[J], R],
    jobs: Sequence[J],
    workers: int,
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
    seconds: float | None,
) -> Iterator[tuple[J, R | ClipError]]:
    """Run `executor.each_clip` in processes of this machine; a clip whose worker dies is tried again, and costs only itself."""
    queue = list(reversed(jobs))
    deaths: Counter[str] = Counter()
    breaks = 0
    while queue:
        with _pool(min(workers, len(queue)), initializer, initargs) as pool:
            pending: dict[Future[R | ClipError], J] = {}
            while queue or pending:
                while queue and len(pending) < AHEAD * workers:
                    pending[pool.schedule(_work, args=(work, queue[-1]), timeout=seconds)] = queue[-1]
                    queue.pop()
                done = wait(pending, return_when=FIRST_COMPLETED).done
                if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
                    break
                for future in done:
                    job = pending.pop(future)
                    try:
                        outcome = _outcome(future, job, deaths, seconds)
                    except _DeadWorkerError:
                        queue.append(job)
                        continue
                    breaks = 0
                    yield job, outcome
            queue.extend(pending.values())
        breaks += bool(queue)
        if breaks == BREAKS:
            raise VferError("worker processes die before they start; free some memory, or set VFER_WORKERS=1")


class _DeadWorkerError(Exception):
    """A worker has died of a clip that may be tried again."""


def _outcome(future: "Future[R | ClipError]", job: J, deaths: Counter[str], seconds: float | None) -> R | ClipError:
    """Return a job's result, which may be None; raise `_DeadWorkerError` where it is to be tried again."""
    try:
        return future.result()
    except TimeoutError:
        return late(job.clip, seconds or 0)
    except ProcessExpired as error:
        deaths[job.clip] += 1
        if deaths[job.clip] < TRIES:
            raise _DeadWorkerError from error
        return died(job.clip)


@contextmanager
def _pool(workers: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> Iterator[ProcessPool]:
    context = multiprocessing.get_context("spawn")  # forking a process that holds threads can deadlock
    pool = ProcessPool(workers, initializer=_Worker.start, initargs=(initializer, initargs), context=context)
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    finally:
        pool.stop()  # type: ignore[no-untyped-call]  # after an error nothing is waited for: files appear whole or not at all
        pool.join()


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


def _work(work: Callable[[J], R], job: J) -> R | ClipError:
    if _Worker.error:
        raise _Worker.error
    return attempt(work, job)
