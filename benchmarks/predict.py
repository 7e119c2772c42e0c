"""`vfer predict` on 720p clips, in frames a second: every frame, against `fer`, and with the default sampling, against real time.

Ours is the whole command, with its start-up, with the network and the detector (CenterFace) that come with vfer, and with SCRFD where its
weights are at hand. `fer` is `FER().detect_emotions(frame)`, from its first frame on, which leaves its start-up out.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks import clips, peer, processes
from benchmarks.repository import Repository, scrfd_weights
from benchmarks.rows import Goal, Row, in_turn, missing, ratios, row
from vfer import env
from vfer.errors import VferError

ROUNDS = 3
TIMES = 4  # copies of each clip that ours answers
RENDERED = clips.Kind((1280, 720), 3.0, 30)
COUNT = 6
FPS = 30.0


def run(scratch: Path, real_data: Path | None) -> list[Row]:
    """Measure ours and `fer` in turn."""
    real = clips.real(real_data, env.workers())
    sources = real or clips.render(scratch / "cache", RENDERED, COUNT)
    folder = scratch / "run" / "predict"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        for number in range(TIMES):
            shutil.copyfile(source, folder / f"{source.stem}-{number}.mp4")
    frames = clips.frames_in(sources)
    passes: list[peer.Pass] = []
    bare = Repository.new(scratch / "run" / "predict-centerface", []).root
    ours = partial(seconds, bare)
    tasks = {"every": partial(ours, folder, "--every", "1"), "default": partial(ours, folder), "one": partial(ours, sources[0])}
    weights = scrfd_weights(real_data)
    if weights:
        repository = Repository.new(scratch / "run" / "predict-scrfd", [])
        repository.install(weights)
        tasks["scrfd"] = partial(seconds, repository.root, folder, "--every", "1")
    absent = ""
    try:
        python = peer.install(scratch / "cache")
        tasks["fer"] = partial(watch, python, sources, passes)
    except VferError as error:
        absent = f"fer could not be installed ({error})"
    samples = in_turn(tasks, ROUNDS)
    every, scrfd = ([TIMES * frames / one for one in samples.get(name, ())] for name in ("every", "scrfd"))
    length = TIMES * frames / FPS
    what = f"{TIMES * len(sources)} {'real' if real else 'rendered'} clips, {length:.0f} s"
    return [
        row(f"every frame: {what}", every, "frames/s"),
        row("every frame, with SCRFD", scrfd, "frames/s") if scrfd else missing("SCRFD", "no weights in the folder of real data"),
        *against(every, scrfd, passes, absent),
        row(f"default sampling: {what}, against real time", [length / one for one in samples["default"]], "x", Goal(least=10)),
        row("one clip, from the start of the command to its end", samples["one"], "s", Goal(most=2)),
    ]


def against(every: list[float], scrfd: list[float], passes: list[peer.Pass], absent: str) -> list[Row]:
    """Return the rows of `fer`."""
    if absent:
        return [missing("fer with Haar", absent)]
    theirs = [one.frames / one.loop for one in passes]
    note = f"found a face in {passes[0].faces} of {passes[0].frames} frames"
    return [
        row("fer with Haar, net of start-up", theirs, "frames/s", note=note),
        row("every frame, against fer with Haar", ratios(every, theirs), "x", Goal(least=7)),
        *([row("every frame, with SCRFD, against fer with Haar", ratios(scrfd, theirs), "x", Goal(least=8))] if scrfd else []),
    ]


def watch(python: Path, sources: list[Path], passes: list[peer.Pass]) -> float:
    """Run `fer` over the clips and keep what it says; return the seconds."""
    passes.append(peer.watch(python, "haar", sources))
    return passes[-1].loop


def seconds(repository: Path, path: Path, *options: str) -> float:
    """Return the wall time of a run of the command in a repository, whose detector it takes."""
    return processes.seconds([sys.executable, "-m", "vfer.cli", "predict", str(path), "--model", "shipped", *options], repository)
