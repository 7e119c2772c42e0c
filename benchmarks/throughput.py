"""Video to features, every frame (`frames.fps: 1000`), in frames a second.

Ours is `python -m stages.frames`, `stages.faces` and `stages.features`, one after the other, each a process (with its workers) of its
own, in a new repository without any earlier result, over clips that show each of the source clips several times over: with the sources
alone, our time would be mostly start-up. `fer` is `FER(mtcnn=...).detect_emotions(frame)` over the sources, once, read with OpenCV, on
as many threads as it takes. The floor is the same decoder, and the same detector, over the sources, without anything else, on as many
processes. Net of start-up: less the time that the same three commands take for tiny clips; for `fer`, from its first frame on.
Ratios are of rates, of one round each, and always to `fer` net of its start-up, since it sees fewer frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from benchmarks import clips, floor, model, peer
from benchmarks.repository import HOME, Repository, scrfd_weights
from benchmarks.rows import Goal, Row, in_turn, missing, ratios, row
from vfer import env
from vfer.errors import VferError

ROUNDS = 3
TIMES = 8  # how often ours sees each clip
RENDERED = clips.Kind((1280, 720), 3.0, 30)
COUNT = 6
GOALS = {"scrfd": {"haar": 10, "mtcnn": 20}, "centerface": {"haar": 5, "mtcnn": 10}}
NAMES = {"scrfd": "SCRFD", "centerface": "CenterFace", "haar": "fer with Haar", "mtcnn": "fer with MTCNN"}


@dataclass
class Ours:
    """Our three stages with one detector, detecting every so many frames (None: the stage has no such param)."""

    root: Path
    detector: str
    every: int | None
    model: Path
    weights: Path | None
    start_up: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return NAMES[self.detector] + (f", detecting in every {ordinal(self.every)}frame" if self.every else "")

    def seconds(self, sources: list[Path], tiny: list[Path]) -> float:
        """Run the stages over the clips and, for the time they take to start, over the tiny ones; return the former's wall time."""
        self.start_up.append(sum(self._repository(tiny).seconds().values()))
        self.parts = self._repository(sources).seconds()
        return sum(self.parts.values())

    def _repository(self, sources: list[Path]) -> Repository:
        repository = Repository.new(self.root, sources, self.model)
        repository.set("frames", fps=1000)
        repository.set("faces", detector=self.detector, max_faceless=1, **({"detect_every": self.every} if self.every else {}))
        if self.detector == "scrfd" and self.weights:
            repository.install(self.weights)
        return repository


def run(scratch: Path, real_data: Path | None) -> list[Row]:
    """Measure ours, `fer` and the floor in turn."""
    workers = env.workers()
    real = clips.real(real_data, workers)
    sources = real or clips.render(scratch / "cache", RENDERED, COUNT)
    ample = [clips.repeat(source, scratch / "run" / "ample" / source.name, TIMES) for source in sources]
    tiny, frames = clips.render(scratch / "cache", clips.TINY, workers), clips.frames_in(ample)
    weights = scrfd_weights(real_data)
    folder = scratch / "run" / "throughput"
    detectors = ["scrfd", "centerface"] if weights else ["centerface"]
    ours = [Ours(folder / "ours", name, every, model.build(scratch), weights) for name in detectors for every in spacings()]
    repository = Repository.new(folder / "weights", [])
    if weights:
        repository.install(weights)

    tasks: dict[str, Callable[[], float]] = {one.name: partial(one.seconds, ample, tiny) for one in ours}
    tasks["decoding"] = partial(floor.seconds, sources, None, repository.root, workers)
    for name in detectors:
        tasks[f"decoding, {name}"] = partial(floor.seconds, sources, name, repository.root / "weights", workers)
    passes: dict[str, list[peer.Pass]] = {"haar": [], "mtcnn": []}
    absent = ""
    try:
        python = peer.install(scratch / "cache")
        tasks |= {name: partial(_watch, python, name, sources, passes[name]) for name in passes}
    except VferError as error:
        absent = f"fer could not be installed ({error})"
    samples = in_turn(tasks, ROUNDS)
    floors = {name: rates(clips.frames_in(sources), samples[name]) for name in samples if name.startswith("decoding")}

    what = f"{len(sources)} {'real' if real else 'rendered'} 720p clips (ours: {TIMES} times over, {frames} frames), {workers} processes"
    rows = [row(f"decoding alone: {what}", floors["decoding"], "frames/s")]
    rows += [row(f"decoding and {NAMES[name]} alone", floors[f"decoding, {name}"], "frames/s") for name in detectors]
    for name, rounds in passes.items():
        rows += [missing(NAMES[name], absent)] if absent else list(peer_rows(name, rounds))
    for one in ours:
        rows += our_rows(one, frames, samples[one.name], floors[f"decoding, {one.detector}"], passes)
    if not weights:
        rows.append(missing("SCRFD", "no weights; put a SCRFD detector into the folder weights of the real data"))
    return rows


def spacings() -> list[int | None]:
    """Return the values of faces.detect_every to run with: the default first, then every frame and every fifth."""
    default = yaml.safe_load((HOME / "params.yaml").read_text())["faces"].get("detect_every")
    return [None] if default is None else list(dict.fromkeys([default, 1, 5]))


def ordinal(every: int) -> str:
    """Return "5th " for 5, and nothing for 1."""
    return {1: "", 2: "2nd ", 3: "3rd "}.get(every, f"{every}th ")


def rates(frames: int, seconds: list[float]) -> list[float]:
    """Return frames a second."""
    return [frames / one for one in seconds]


def peer_rows(name: str, rounds: list[peer.Pass]) -> Iterator[Row]:
    """Yield the rows of `fer` with one detector."""
    note = f"found a face in {rounds[0].faces} of {rounds[0].frames} frames; {rounds[-1].threads} threads"
    yield row(f"{NAMES[name]}, whole", [one.frames / one.whole for one in rounds], "frames/s")
    yield row(f"{NAMES[name]}, net of start-up", [one.frames / one.loop for one in rounds], "frames/s", note=note)


def our_rows(one: Ours, frames: int, whole: list[float], floor_: list[float], passes: dict[str, list[peer.Pass]]) -> Iterator[Row]:
    """Yield the rows of ours with one detector, and the ratios to the floor (both are frames a second) and to `fer`."""
    net = [all_ - start for all_, start in zip(whole, one.start_up, strict=True)]
    parts = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in one.parts.items())
    yield row(f"{one.name}: whole", rates(frames, whole), "frames/s", note=f"last round: {parts}")
    yield row(f"{one.name}: start-up of the three stages", one.start_up, "s")
    yield row(f"{one.name}: net of start-up", rates(frames, net), "frames/s")
    yield row(f"{one.name}: net, of decoding and the detector alone", ratios(rates(frames, net), floor_), "x")
    for name, rounds in passes.items():
        if rounds:
            goal = Goal(least=GOALS[one.detector][name])
            theirs = [other.frames / other.loop for other in rounds]
            yield row(f"{one.name}: whole, against {NAMES[name]} net", ratios(rates(frames, whole), theirs), "x", goal)
            yield row(f"{one.name}: net, against {NAMES[name]} net", ratios(rates(frames, net), theirs), "x", goal)


def _watch(python: Path, name: str, sources: list[Path], rounds: list[peer.Pass]) -> float:
    rounds.append(peer.watch(python, name, sources))
    return rounds[-1].whole
