"""Maps a function over clips, one clip a job: in processes of this machine, or on a Ray cluster where one is set."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vfer import env
from vfer.clips import processes
from vfer.clips.processes import J, R
from vfer.errors import ClipError, ClusterError


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
        return processes.each_clip(work, jobs, workers, initializer, initargs)
    try:
        from vfer.clips import cluster
    except ModuleNotFoundError as error:
        raise ClusterError("VFER_RAY_ADDRESS is set, and Ray is not installed; install vfer[ray], or unset it") from error
    return cluster.each_clip(address, work, jobs, workers=workers, initializer=initializer, initargs=initargs)
