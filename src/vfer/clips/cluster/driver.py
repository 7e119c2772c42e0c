"""Hand the jobs to the cluster, a few at a time, and take their results."""

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vfer.clips.attempt import J, R, died
from vfer.clips.cluster import node
from vfer.clips.cluster.connection import connected, line, nodes
from vfer.clips.processes import AHEAD
from vfer.errors import ClipError, ClusterError

log = logging.getLogger(__name__)

TRIES = 3  # a clip whose worker or node died so often is set aside
CHECK = 120.0  # seconds in which a node starts a process and looks around
LOOK = 2.0  # seconds after which the cluster's CPUs are counted again
END = 10.0  # seconds that cancelled jobs get to tidy up


def each_clip(
    address: str,
    work: Callable[[J], R],
    jobs: Sequence[J],
    *,
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    seconds: float | None = None,
) -> Generator[tuple[J, R | ClipError], None, None]:
    """Run `executor.each_clip` on the cluster at `address`.

    Each node must see the driver's current directory under the same path, since jobs hold paths relative to it, and must
    run the same code: both are checked on each node before the work, and in each worker process.

    Raises:
        ClusterError: If that cannot be.
    """
    if not jobs:
        return
    with connected(address), _token() as token:
        start = ray.put(node.Start(Path.cwd(), token, node.code(), work, initializer, initargs, seconds))
        _check_nodes([start])
        yield from _map([start], jobs, workers, seconds)


@contextmanager
def _token() -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix=".vfer-ray-", dir=Path.cwd()) as file:
        yield Path(file.name).name


def _check_nodes(start: node.Given) -> None:
    pings = {
        node.look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(there["NodeID"], soft=False)).remote(start): there["NodeName"]
        for there in nodes()
        if there["Resources"].get("CPU")
    }
    alive = set(ray.wait(list(pings), num_returns=len(pings), timeout=CHECK)[0]) if pings else set()
    for ref, name in pings.items():
        if ref not in alive:
            raise ClusterError(f"Ray node {name}: does not answer within {CHECK:.0f} s; fix it or remove it from the cluster")
        try:
            ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, ClusterError):
                raise error.cause from None
            raise ClusterError(f"Ray node {name}: cannot run vfer ({line(error.cause)}); install the same vfer there") from error
        except RayError:  # it has died meanwhile; others do its work
            continue


def _map(start: node.Given, jobs: Sequence[J], workers: int, seconds: float | None) -> Iterator[tuple[J, Any]]:
    waiting = list(reversed(jobs))
    pending: dict[ray.ObjectRef[Any], J] = {}
    deaths: Counter[str] = Counter()
    room = Room(workers)
    try:
        while waiting or pending:
            while waiting and len(pending) < room():
                pending[node.do.remote(start, waiting[-1])] = waiting[-1]
                waiting.pop()
            for ref in _ready(list(pending)):
                job = pending.pop(ref)
                result = _result(ref)
                if isinstance(result, LostResult):
                    deaths[job.clip] += 1
                    if deaths[job.clip] < TRIES:
                        waiting.append(job)
                        continue
                    result = died(job.clip, seconds)
                yield job, result
    finally:
        _cancel(list(pending))


class Room:
    """How many jobs may be under way: a few for each CPU that the cluster has now, as nodes come and go; at least `least`.

    That there are more jobs than CPUs also tells an autoscaler that there is more to do.
    """

    def __init__(self, least: int) -> None:
        self._least, self._count, self._until, self._warned = least, 0, 0.0, False

    def __call__(self) -> int:
        """Return their number; the CPUs are counted every few seconds."""
        if time.monotonic() >= self._until:
            cpus = int(sum(there["Resources"].get("CPU", 0) for there in nodes()))
            self._count, self._until = max(self._least, AHEAD * cpus), time.monotonic() + LOOK
            if not (cpus or self._warned):
                self._warned = True
                log.warning("no node of the Ray cluster has a CPU to work with; the clips wait until one joins")
        return self._count


class LostResult:
    """In place of a result: the worker or the node died, or the result with it."""


def _ready(refs: "list[ray.ObjectRef[Any]]") -> "list[ray.ObjectRef[Any]]":
    if ray.wait(refs, timeout=LOOK)[0]:
        return ray.wait(refs, num_returns=len(refs), timeout=0)[0]
    return []


def _result(ref: "ray.ObjectRef[Any]") -> Any:
    try:
        return ray.get(ref)
    except RayTaskError as error:  # Ray's wrapping of what the work raised
        raise error.cause from error
    except (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError):
        return LostResult()
    except RayError as error:
        raise ClusterError(f"Ray failed ({line(error)}); finished work is kept: run the command again") from error


def _cancel(refs: "list[ray.ObjectRef[Any]]") -> None:
    for ref in refs:
        ray.cancel(ref)
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=END)
