"""Where the time of `frames` and `faces` goes on clips of one's own, and how true tracked boxes are: what to choose `detect_every` by.

    python -m benchmarks.profile_faces VIDEO... --detector scrfd --every 2,5,10

Times are those of one process on the processor, with one thread; so a busy machine matters little. Truth is a search of every frame.
"""

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from vfer import params
from vfer.cli import console
from vfer.faces import table, weights
from vfer.faces.clip import FacesJob, FacesWorker
from vfer.faces.params import FacesParams
from vfer.faces.track import iou
from vfer.video.frames import FramesJob, FramesParams, write

HOME = Path(__file__).resolve().parents[1]
FRAMES = {"decode": "_decode", "luma and shrinking": "upright", "JPEG": "encode", "all": "write"}
FACES = {"JPEG": "_decode", "detect": "_detect", "track": "between", "crop": "crop", "follow": "follow", "all": "work"}


def main(
    videos: Annotated[list[Path], typer.Argument(help="Clips.")],
    detector: Annotated[str, typer.Option(help="auto, centerface or scrfd.")] = "auto",
    folder: Annotated[Path, typer.Option("--weights", help="Folder of the SCRFD weights.")] = HOME / "weights",
    fps: Annotated[float, typer.Option(help="Frames sampled a second; all by default.")] = 1000,
    every: Annotated[str, typer.Option(help="Values of faces.detect_every; 1 is always among them.")] = "1,5",
) -> None:
    """Print each step's milliseconds a frame, and for each `detect_every` how the boxes differ from those of every frame."""
    section = params.load(HOME / "params.yaml", "frames", FramesParams).model_copy(update={"fps": fps})
    faces = params.load(HOME / "params.yaml", "faces", FacesParams).model_copy(update={"detector": detector})
    choice = weights.choose(faces, folder)
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [FramesJob(str(n), video, Path(scratch) / f"{n}.parquet", "scene", section) for n, video in enumerate(videos)]
        write(jobs[0])  # in vain: the libraries and the files are read
        spent, results = profile(write, jobs, FRAMES)
        counts = [clip.frames for clip in results]
        console.console.print(f"{len(jobs)} clips, {sum(counts)} frames, {choice.name}; milliseconds a frame")
        show("frames", spent, sum(counts))
        truth: list[table.Faces] = []
        for number in sorted({1, *map(int, every.split(","))}):
            FacesWorker.start(partial(choice.load, faces), faces.model_copy(update={"detect_every": number}))
            work = [FacesJob(job.clip, job.target, Path(scratch) / "faces" / job.clip) for job in jobs]
            spent, _ = profile(FacesWorker.work, work, FACES)
            result = [table.read(job.target) for job in work]
            truth = truth or result
            show(f"faces, detect_every {number}", spent, sum(counts))
            console.console.print(f"    {compare(result, truth)}")


def profile(function: Callable[[Any], Any], jobs: list[Any], steps: dict[str, str]) -> tuple[dict[str, float], list[Any]]:
    """Return the seconds within the function of each step, and what the calls returned."""
    profiler = cProfile.Profile(time.process_time)
    results = [profiler.runcall(function, job) for job in jobs]
    spent = dict.fromkeys(steps, 0.0)
    for (file, _, name), (*_, within, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        for step, step_function in steps.items():
            spent[step] += within if name == step_function and "vfer" in Path(file).parts else 0
    return spent, results


def show(title: str, spent: dict[str, float], frames: int) -> None:
    """Print one line of milliseconds a frame."""
    console.console.print(f"{title}: " + ", ".join(f"{step} {1000 * seconds / frames:.2f}" for step, seconds in spent.items()))


def compare(result: list[table.Faces], truth: list[table.Faces]) -> str:
    """Say how the tracked boxes overlap with the true ones, and how the coverage differs."""
    overlaps, present, status = [], np.zeros(2), []
    for one, other in zip(result, truth, strict=True):
        is_tracked = np.array(one.status) == "tracked"
        both = np.flatnonzero(is_tracked & other.present)
        overlaps += [float(iou(one.box[[frame]], other.box[[frame]])[0, 0]) for frame in both]
        present += one.present.sum(), other.present.sum()
        status += one.status
    share = status.count("detected") / len(status)
    if not overlaps:
        return f"{share:.0%} of the frames detected, none tracked; coverage {present[0] / len(status):.2%}"
    median, low = np.median(overlaps), np.percentile(overlaps, 5)
    coverage = f"coverage {present[0] / len(status):.2%}, {(present[0] - present[1]) / len(status):+.2%}"
    return f"{share:.0%} of the frames detected; tracked boxes overlap by {median:.3f} (median), 95 % of them by {low:.3f}; {coverage}"


if __name__ == "__main__":
    console.run(main)
