"""`vfer timeline`: how right its segments and curves are on rendered films, and how long and how much memory a long film takes.

Films of two people, each of whom performs one expression after the other, with rests between. Segment F1: a segment is right where it
overlaps a performance by half of their union and has its expression; rests count for nothing, and so do segments of the expression of a
face at rest. CCC is Lin's concordance of the performed expression's smoothed probability with its rendered strength. Delay: how much
later than the strength reaches one half the matched segment begins. The model is the one that `vfer predict` uses here: the champion,
or else the network that comes with vfer, which answers each frame on its own and smooths over the same time as the windows.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import clips, films, processes
from benchmarks.films import Film, Role, Truth
from benchmarks.rows import Goal, Row, missing, row
from vfer.data.sample.course import COURSES
from vfer.faces.track import iou
from vfer.predict.models import model as models
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.recogniser import Recogniser
from vfer.predict.timeline.timeline import Timeline

SIZE, FPS, SECONDS, UNIT = (480, 360), 25, 24, 44
SEEDS = (1, 2, 3)
ACT = 3.0  # seconds of a performance
RESTING = ("neutral", "calm")
LONG = (1280, 720)
SMALL, SMALL_FPS = (320, 180), 10
PIECE, WHOLE = 20, 600  # seconds: of the rendered piece, and of the film that repeats it
FIVE_MINUTES, FOUR_HOURS = 300, 14_400
MOST = 300.0


class Stretch(NamedTuple):
    """From when to when who shows what; `at` is when the strength first reaches one half, for the truth."""

    who: int
    start: float
    end: float
    expression: str
    at: float = 0.0


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure accuracy on short films, then time and memory on long ones."""
    return [*accuracy(scratch / "run" / "timeline"), *costs(scratch)]


def accuracy(folder: Path) -> list[Row]:
    """Return the rows of F1, CCC and delay, with the sequence model's windows, where there is one, and with smoothed single frames."""
    folder.mkdir(parents=True, exist_ok=True)
    model = models.find()
    windows, frames = Recogniser.open(model), Recogniser.open(replace(model, lstm=None))
    expressions = sorted(set(windows.classes) & set(COURSES) - set(RESTING))
    movies = [(folder / f"{seed}.mp4", film(seed, expressions).render(folder / f"{seed}.mp4")) for seed in SEEDS]
    kinds = {} if windows.answerer.single else {"windows": windows}
    kinds["smoothed single frames"] = frames
    rows = []
    for kind, recogniser in kinds.items():
        figures = [measure(recogniser, path, truth) for path, truth in movies]
        what = f"{kind}, {windows.title.partition(',')[0]}, {len(movies)} films"
        rows += [
            row(f"segment F1 at IoU 0.5: {what}", [one[0] for one in figures], ""),
            row(f"CCC with the strength: {what}", [one[1] for one in figures], ""),
        ]
        delays = [one[2] for one in figures if one[2] is not None]
        late = f"delay of onset: {what}"
        rows.append(row(late, delays, "s") if delays else missing(late, "no segment is right"))
    if "windows" not in kinds:
        rows.append(missing("windows", "there is no registered model here; run `make repro` first"))
    return rows


def film(seed: int, expressions: Sequence[str]) -> Film:
    """Return a film of one shot and two people."""
    random = np.random.default_rng(seed)
    roles = [
        Role(
            10 * seed + number,
            films.walk(random, SECONDS * FPS, FPS, SIZE, UNIT, home, 0.3),
            UNIT,
            films.drama(random, SECONDS, ACT, expressions),
        )
        for number, home in enumerate((0.27, 0.73))
    ]
    return Film(SIZE, FPS, [roles], seed)


def measure(recogniser: Recogniser, path: Path, truth: Sequence[Truth]) -> tuple[float, float, float | None]:
    """Return F1, CCC and the median delay in seconds on one film; None if no segment is right."""
    timeline = recogniser.timeline(path)
    who = people(timeline, truth)
    targets = performances(truth)
    segments = [
        Stretch(who[one.person], one.start, one.end, one.expression)
        for one in timeline.segments
        if one.person in who and one.expression not in RESTING and one.answer != UNCERTAIN
    ]
    pairs = match_segments(targets, segments)
    delays = [other.start - one.at for one, other in pairs]
    f1 = 2 * len(pairs) / max(1, len(targets) + len(segments))
    return f1, concordance(*curves(timeline, truth, who)), float(np.median(delays)) if delays else None


def people(timeline: Timeline, truth: Sequence[Truth]) -> dict[str, int]:
    """Return the actor that each person of a timeline mostly is."""
    votes: dict[str, list[int]] = {}
    at: dict[int, list[Truth]] = {}
    for one in truth:
        at.setdefault(one.frame, []).append(one)
    for row_ in timeline.rows:
        if row_.person and row_.box is not None:
            overlaps = [float(iou(row_.box[None], np.array([one.box], np.float32))[0, 0]) for one in at[row_.frame]]
            votes.setdefault(row_.person, []).append(at[row_.frame][int(np.argmax(overlaps))].actor)
    return {person: max(set(actors), key=actors.count) for person, actors in votes.items()}


def performances(truth: Sequence[Truth]) -> list[Stretch]:
    """Return the stretches over which an actor performs."""
    stretches: list[Stretch] = []
    for actor in sorted({one.actor for one in truth}):
        run_: list[Truth] = []
        for one in [*(each for each in truth if each.actor == actor), None]:
            if run_ and (one is None or one.expression != run_[-1].expression or one.time - run_[-1].time > 1.5 / FPS):
                at = next((each.time for each in run_ if each.strength >= 0.5), run_[0].time)
                stretches.append(Stretch(actor, run_[0].time, run_[-1].time + 1 / FPS, run_[0].expression, at))
                run_ = []
            if one and one.expression != "none":
                run_.append(one)
    return stretches


def match_segments(targets: Sequence[Stretch], segments: Sequence[Stretch]) -> list[tuple[Stretch, Stretch]]:
    """Return the pairs of a performance and a segment that agree; each segment once."""
    pairs, candidates = [], list(segments)
    for one in targets:
        alike = [other for other in candidates if (other.who, other.expression) == (one.who, one.expression) and overlap(one, other) >= 0.5]
        if alike:
            best = max(alike, key=lambda other: overlap(one, other))
            candidates.remove(best)
            pairs.append((one, best))
    return pairs


def overlap(one: Stretch, other: Stretch) -> float:
    """Return the intersection over the union of two stretches of time."""
    both = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, both) / (max(one.end, other.end) - min(one.start, other.start))


def curves(timeline: Timeline, truth: Sequence[Truth], who: dict[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns, for each expression that a person performs and each frame that shows the person, strength and smoothed probability."""
    truth_of = {(one.frame, one.actor): one for one in truth}
    acts = {(one.actor, one.expression) for one in truth if one.expression != "none"}
    strength, answers = [], []
    for row_ in timeline.rows:
        if row_.person not in who or row_.smooth is None:
            continue
        real = truth_of[row_.frame, who[row_.person]]
        for actor, expression in sorted(acts):
            if actor == real.actor:
                strength.append(real.strength if real.expression == expression else 0.0)
                answers.append(float(row_.smooth[timeline.classes.index(expression)]))
    return np.array(strength), np.array(answers)


def concordance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return Lin's concordance correlation coefficient."""
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def costs(scratch: Path) -> list[Row]:
    """Return the rows of time and memory: ten minutes of two people in 720p, and four hours of one person, with all files."""
    wide = repeatable(scratch / "cache" / "timeline-piece.mp4", LONG, FPS, 90, (0.27, 0.73))
    small = repeatable(scratch / "cache" / "timeline-small.mp4", SMALL, SMALL_FPS, 40, (0.5,))
    took, peak = cost(scratch, wide, WHOLE)
    hours, minutes = (cost(scratch, small, seconds)[1] for seconds in (FOUR_HOURS, FIVE_MINUTES))
    what = f"{WHOLE // 60} minutes of 720p, {FPS} frames/s, two people, all files"
    endless = f"{SMALL[0]}x{SMALL[1]}, {SMALL_FPS} frames/s, one person, all files"
    return [
        row(f"time: {what}", [took], "s", Goal(most=MOST)),
        row(f"memory: {what}", [peak], "MB"),
        row(f"memory: 4 hours of {endless}", [hours], "MB"),
        row("memory: 4 hours, of 5 minutes of the same", [hours / minutes], "x", Goal(most=1.2)),
    ]


def repeatable(path: Path, size: tuple[int, int], fps: int, unit: float, homes: Sequence[float]) -> Path:
    """Render the short film that the long ones repeat, unless it is there; one person stands at each of `homes`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(0)
        walks = [films.walk(random, PIECE * fps, fps, size, unit, home, 0.4) for home in homes]
        acts = [films.drama(random, PIECE, ACT, ["happy", "sad", "surprise"]) for _ in walks]
        Film(size, fps, [[Role(number, walk, unit, act) for number, (walk, act) in enumerate(zip(walks, acts, strict=True))]], 0).render(
            path
        )
    return path


def cost(scratch: Path, piece: Path, seconds: int) -> tuple[float, float]:
    """Return the seconds and the peak memory in MB of the command on a film of `seconds` that repeats a piece."""
    folder = scratch / "run" / "timeline"
    film = clips.repeat(piece, folder / f"{piece.stem}-{seconds}.mp4", seconds // PIECE)
    command = [sys.executable, "-m", "vfer.cli", "timeline", str(film), "-o", str(folder / film.stem), "--model", "shipped"]
    began = time.perf_counter()
    peak = processes.peak_memory(command, folder)
    return time.perf_counter() - began, peak
