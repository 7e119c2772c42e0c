"""What a clip costs in each step, measured, and what many clips cost by that: `python -m benchmarks.cost` prints Markdown.

Each step runs on one thread, as in a worker. CPU seconds are counted, so other work on the machine disturbs them little.
"""

import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import av
import typer

from vfer import env, params
from vfer.cli import console
from vfer.clips.executor import each_clip
from vfer.data import sample
from vfer.errors import DataError
from vfer.faces import table, weights
from vfer.faces.clip import FacesJob, FacesWorker
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.features import cache
from vfer.features.embed import embed
from vfer.nets.session import Session
from vfer.video.frames import FramesJob, FramesParams, write

HOME = Path(__file__).resolve().parents[1]
PARAMS = HOME / "params.yaml"
ROUNDS = 3  # the median of each figure counts
STEPS = {
    "store": "`frames`: decode all, shrink, encode, store",
    "detect": "`faces`: detect",
    "crop": "`faces`: read, follow, crop, store",
    "embed": "`features`: embed, store",
}
FILES = ("frames", "faces", "features")
MANY = {"5 thousand": 5_000, "1 million": 1_000_000, "1 billion": 1_000_000_000}
CPUS = (2, 100, 1000)
PUT, GET = 5e-6, 4e-7  # dollars an object written, read


@dataclass
class Clip:
    """One clip's CPU seconds by step and bytes by file, and how many frames were decoded, sampled, searched, and show a face."""

    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    frames: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assumptions:
    """Dollars a vCPU-hour and a GB-month, the share of the paid time in which a vCPU works, and MB a clip of the source."""

    cpu: float
    gigabyte: float
    use: float
    video: float


class TimedDetector:
    """A detector that counts its calls and its CPU seconds."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.seconds, self.calls = detector, 0.0, 0
        self.name, self.sha256 = detector.name, detector.sha256

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Detect as the detector does."""
        start = time.process_time()
        boxes = self.detector(*args, **kwargs)
        self.seconds, self.calls = self.seconds + time.process_time() - start, self.calls + 1
        return boxes


class Steps:
    """The steps from a video to its features, with one detector."""

    def __init__(self, choice: weights.ChosenDetector, settings: FacesParams, model: Path, scratch: Path) -> None:
        self.detector, self.session, self.scratch = TimedDetector(choice.load(settings)), Session(model), scratch
        self.frames = params.load(PARAMS, "frames", FramesParams)
        FacesWorker.start(lambda: self.detector, settings)

    def measure(self, source: Path) -> Clip:
        """Return the medians of several rounds."""
        rounds = [self._once(source) for _ in range(ROUNDS)]
        return Clip(*(_merge([getattr(clip, name) for clip in rounds], median) for name in ("seconds", "sizes", "frames")))

    def _once(self, source: Path) -> Clip:
        clip, name = Clip(), source.stem
        video, faces, features = (self.scratch / name / kind for kind in FILES)
        with _timer(clip, "store"):
            clip.frames["sampled"] = write(FramesJob(name, source, video, "scene", self.frames)).frames
        seconds, calls = self.detector.seconds, self.detector.calls
        with _timer(clip, "crop"):
            FacesWorker.work(FacesJob(name, video, faces))
        clip.seconds["detect"], clip.frames["searched"] = self.detector.seconds - seconds, self.detector.calls - calls
        clip.seconds["crop"] -= clip.seconds["detect"]
        with _timer(clip, "embed"):
            crops = table.read(faces)
            cache.write(features, [embed(self.session, name, crops)], {})
        clip.frames["found"], clip.frames["decoded"] = float(crops.present.sum()), _length(source)
        clip.sizes = {kind: (self.scratch / name / kind).stat().st_size for kind in FILES}
        return clip


@contextmanager
def _timer(clip: Clip, step: str) -> Iterator[None]:
    start = time.process_time()
    yield
    clip.seconds[step] = time.process_time() - start


def _length(source: Path) -> float:
    with av.open(str(source)) as video:
        return float(video.streams.video[0].frames)


def _merge(parts: Sequence[dict[str, float]], by: Any) -> dict[str, float]:
    return {name: by([part[name] for part in parts]) for name in parts[0]}


def main(
    model: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")] = HOME / "outputs" / "cnn" / "model.onnx",
    clips: Annotated[Path | None, typer.Option(help="Folder of your own clips, *.mp4; rendered ones where none is given.")] = None,
    scrfd: Annotated[Path, typer.Option(help="Folder of SCRFD's weights; measured too where they are there.")] = HOME / "weights",
    cpu: Annotated[float, typer.Option(help="Dollars a vCPU-hour.")] = 0.05,
    gigabyte: Annotated[float, typer.Option(help="Dollars a GB-month.")] = 0.023,
    use: Annotated[float, typer.Option(help="Share of the paid time in which a vCPU works.")] = 0.9,
    video: Annotated[float, typer.Option(help="MB a clip of the source.")] = 3.8,
) -> None:
    """Measure each step, and print what 5 thousand, a million and a billion clips cost by that."""
    if not model.is_file():
        raise DataError(f"{model}: there is no such model; run `dvc repro cnn`, or give one with --model")
    with tempfile.TemporaryDirectory(prefix="cost-") as scratch:
        sources = sorted(clips.rglob("*.mp4")) if clips else render(Path(scratch) / "data")
        if not sources:
            raise DataError(f"{clips}: holds no *.mp4; give a folder of clips")
        costs = {choice.name: run(sources, choice, settings, model, Path(scratch)) for choice, settings in detectors(scrfd)}
    first = next(iter(costs.values()))
    lines = [
        summary(len(sources), "given" if clips else "rendered", first),
        "",
        *steps(costs),
        "",
        *bill(costs, Assumptions(cpu, gigabyte, use, video)),
    ]
    if env.ray_address():
        lines += ["", f"One driver handed out {dispatch_rate():.0f} empty jobs a second."]
    console.console.print("\n".join(lines), markup=False)


def render(data: Path) -> list[Path]:
    """Render seven clips that are like RAVDESS's in length, size and rate; their bit rate is lower."""
    sample.write(data, actors=1, recordings=1, size=(1280, 720), seconds=3.5, fps=30, stills=1, modalities=["02"])
    return sorted(data.rglob("*.mp4"))


def detectors(folder: Path) -> Iterator[tuple[weights.ChosenDetector, FacesParams]]:
    """Yield CenterFace, and SCRFD where its weights are installed, with the other settings of params.yaml."""
    section = params.load(PARAMS, "faces", FacesParams)
    for name in ("centerface", "scrfd") if (folder / weights.SCRFD_FILE).is_file() else ("centerface",):
        settings = section.model_copy(update={"detector": name})
        yield weights.choose(settings, folder), settings


def run(sources: Sequence[Path], choice: weights.ChosenDetector, settings: FacesParams, model: Path, scratch: Path) -> Clip:
    """Return the means over the clips; the first is run once before, to warm up."""
    each = Steps(choice, settings, model, scratch)
    each.measure(sources[0])
    clips = [each.measure(source) for source in sources]
    return Clip(*(_merge([getattr(clip, name) for clip in clips], mean) for name in ("seconds", "sizes", "frames")))


@dataclass(frozen=True)
class Empty:
    """A job without work."""

    clip: str


def dispatch_rate(count: int = 8000, warm: int = 500) -> float:
    """Return how many jobs a second the driver can give to the cluster that `VFER_RAY_ADDRESS` names."""
    results = each_clip(str, [Empty(str(number)) for number in range(warm + count)], workers=env.workers())
    for _ in range(warm):
        next(results)
    start = time.perf_counter()
    return sum(1 for _ in results) / (time.perf_counter() - start)


def summary(count: int, kind: str, cost: Clip) -> str:
    """Say what was measured, when and where."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    of = f"{count} {kind} clips, {cost.frames['decoded']:.0f} frames each, of which {cost.frames['sampled']:.0f} are sampled"
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}: {of}; peak memory of the process {peak:.0f} MB."


def steps(costs: dict[str, Clip]) -> list[str]:
    """Return the table of CPU milliseconds a sampled frame."""
    lines = [f"| CPU ms a sampled frame | {' | '.join(costs)} |", f"|---|{'---|' * len(costs)}"]
    for step, text in STEPS.items():
        lines.append(_row(text, [f"{1000 * cost.seconds[step] / cost.frames['sampled']:.2f}" for cost in costs.values()]))
    lines.append(_row("together", [f"{1000 * sum(cost.seconds.values()) / cost.frames['sampled']:.2f}" for cost in costs.values()]))
    lines.append(_row("CPU seconds a clip", [f"{sum(cost.seconds.values()):.2f}" for cost in costs.values()]))
    for name, text in {"searched": "frames that the detector saw", "found": "frames with a face"}.items():
        lines.append(_row(text, [f"{100 * cost.frames[name] / cost.frames['sampled']:.0f} %" for cost in costs.values()]))
    sizes = [_row(f"kB a clip, `{kind}`", [f"{cost.sizes[kind] / 1e3:.0f}" for cost in costs.values()]) for kind in FILES]
    return lines + sizes


def bill(costs: dict[str, Clip], assumptions: Assumptions) -> list[str]:
    """Return the table of hours and dollars."""
    hours = " | ".join(f"on {count} vCPUs" for count in CPUS)
    lines = [f"| clips | detector | vCPU-hours | {hours} | computing, $ | stored, TB | storage, $ a month | requests, $ |"]
    lines.append("|---|---|" + "---|" * (len(CPUS) + 5))
    for name, count in MANY.items():
        for detector, cost in costs.items():
            paid = count * sum(cost.seconds.values()) / 3600 / assumptions.use
            terabytes = count * (assumptions.video / 1e6 + sum(cost.sizes.values()) / 1e12)
            requests = count * len(FILES) * (PUT + GET)
            spans = [_span(paid / cpus) for cpus in CPUS]
            dollars = [_round(paid * assumptions.cpu), _round(terabytes), _round(1000 * terabytes * assumptions.gigabyte), _round(requests)]
            lines.append(_row(name, [detector, _round(paid), *spans, *dollars]))
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _round(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def _span(hours: float) -> str:
    for unit, size in (("years", 8766), ("days", 24), ("hours", 1), ("minutes", 1 / 60)):
        if hours >= 2 * size:
            return f"{_round(hours / size)} {unit}"
    return "under 2 minutes"


if __name__ == "__main__":
    console.run(main)
