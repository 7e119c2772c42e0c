"""1 and 2 processes (`VFER_WORKERS`), and 1 and 2 Ray nodes of one CPU each on this machine (`VFER_RAY_ADDRESS`).

`frames`, `faces` (CenterFace) and `features` over rendered clips of 1280x720, every frame, without any earlier result. Net of start-up:
less the time that the same three commands take for two tiny clips with as many workers. Ratios are of one round each; Ray is measured
after the processes. Its own processes, and ours that feeds the nodes, take their share of the same cores, so that on a machine of two
cores two nodes cannot be twice as fast as one.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import clips, cluster, model
from benchmarks.repository import Repository
from benchmarks.rows import Goal, Row, in_turn, missing, ratios, row

KIND = clips.Kind((1280, 720), 2.0, 25)
COUNT = 192
ROUNDS = 2
RAY_ROUNDS = 1
WORKERS = (1, 2)
LEAST = 1.8


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure processes in turn, then each cluster."""
    folder, cnn = scratch / "run" / "scaling", model.build(scratch)
    many, tiny = clips.render(scratch / "cache", KIND, COUNT), clips.render(scratch / "cache", clips.TINY, 2)

    def seconds(sources: list[Path], **more: str) -> float:
        repository = Repository.new(folder / "repository", sources, cnn)
        repository.set("frames", fps=1000)
        repository.set("faces", detector="centerface", max_faceless=1)
        return sum(repository.seconds(**more).values())

    tasks: dict[str, Callable[[], float]] = {}
    for workers in WORKERS:
        tasks |= pair(seconds, many, tiny, str(workers), VFER_WORKERS=str(workers))
    rows = worker_rows("processes", in_turn(tasks, ROUNDS), Goal(least=LEAST))
    if not cluster.is_supported():
        return [*rows, missing("Ray nodes", "this version has no VFER_RAY_ADDRESS")]
    times: dict[str, list[float]] = {}
    for nodes in WORKERS:
        with cluster.start(nodes, folder) as address:
            times |= in_turn(pair(seconds, many, tiny, str(nodes), VFER_RAY_ADDRESS=address, VFER_WORKERS=str(nodes)), RAY_ROUNDS)
    return [*rows, *worker_rows("Ray nodes", times)]


def pair(seconds: Callable[..., float], many: list[Path], tiny: list[Path], name: str, **more: str) -> dict[str, Callable[[], float]]:
    """Return the work, and its start-up, as tasks."""
    return {name: partial(seconds, many, **more), f"{name} start-up": partial(seconds, tiny, **more)}


def worker_rows(what: str, times: dict[str, list[float]], goal: Goal | None = None) -> list[Row]:
    """Return the times of each number of workers, and how many times faster two are than one; the goal is for their work."""
    one, two = (str(workers) for workers in WORKERS)
    net = {name: [all_ - start for all_, start in zip(times[name], times[f"{name} start-up"], strict=True)] for name in (one, two)}
    rows = [
        row(f"{name} {what}: {part}", times[key], "s")
        for name in (one, two)
        for part, key in (("whole", name), ("start-up", f"{name} start-up"))
    ]
    rows.append(row(f"{two} {what}: whole, times as fast as {one}", ratios(times[one], times[two]), "x"))
    return [*rows, row(f"{two} {what}: net of start-up, times as fast as {one}", ratios(net[one], net[two]), "x", goal)]
