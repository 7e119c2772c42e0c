"""Map a function over clips, one clip per job: in processes of this machine, or on a Ray cluster where one is set."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from vfer import env
from vfer.clips import processes
from vfer.clips.attempt import J, R
from vfer.errors import ClipError, ClusterError


def each_clip(
    work: Callable[[J], R],
    jobs: Sequence[J],
    *,
    workers: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    seconds: float | None = None,
) -> Generator[tuple[J, R | ClipError], None, None]:
    """Yield each job with its result, or with the `ClipError` that sets its clip aside, in the order of completion.

    At most a few jobs a worker are under way at once, so memory does not grow with their number. Whatever goes wrong with a clip
    costs only that clip: an error that its work raises, a worker that dies each time (a decoder that crashes), and work that takes
    longer than `seconds` (a decoder that hangs). Errors of vfer other than `ClipError`, those of a full disk, and those of
    `initializer` concern all clips and are raised; they, and a loop that is left early, drop what has not ended. With
    `VFER_RAY_ADDRESS` set, the cluster's CPUs do the work instead.
    """
    address = env.ray_address()
    if address is None:
        return processes.each_clip(work, jobs, workers, initializer, initargs, seconds)
    try:
        from vfer.clips import cluster
    except ModuleNotFoundError as error:
        raise ClusterError("VFER_RAY_ADDRESS is set, and Ray is not installed; install vfer[ray], or unset it") from error
    return cluster.each_clip(address, work, jobs, workers=workers, initializer=initializer, initargs=initargs, seconds=seconds)
