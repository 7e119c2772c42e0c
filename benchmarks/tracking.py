"""Who is who: IDF1 of our tracks and of ByteTrack on rendered films of three people, whose paths cross in the lively ones.

Both follow the people of each shot. Ours detects in key frames, links at the film's own rate and finds the cuts by itself; ByteTrack (the
package `trackers`) gets the same detector's boxes of every frame, trusts all of them, and starts anew at each cut. A face is found where
its box and the true one overlap by half. IDF1 is taken over the frames that ours samples.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import vfer
from benchmarks import films, peer, processes
from benchmarks.films import Film, Role, Truth
from benchmarks.rows import Goal, Row, missing, row
from vfer.errors import VferError
from vfer.faces.track import iou
from vfer.predict.recogniser import Recogniser
from vfer.video import decode

SIZE, FPS, SECONDS, CUT = (640, 360), 25, 12, 6
FILMS = {"calm": (0.3, (1, 2, 5, 6, 7)), "lively": (2.5, (3, 4, 8, 9, 10))}  # liveliness, and the seeds of five films
UNIT = 34
LEAST = -0.03  # ByteTrack is adopted where it wins by more
HERE = Path(__file__).parent


class Box(NamedTuple):
    """One box (4,) in a frame, and whose it is said to be."""

    frame: int
    who: int
    box: NDArray[np.float32]


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure both on the same films."""
    recogniser = vfer.load("shipped")
    try:
        python = peer.install(scratch / "cache", "trackers")
        absent = ""
    except VferError as error:
        python, absent = None, str(error)
    rows = []
    for kind, (liveliness, seeds) in FILMS.items():
        ours, theirs = [], []
        for seed in seeds:
            path = scratch / "run" / f"{kind}-{seed}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            truth = film(liveliness, seed).render(path)
            result = tracks(recogniser, path)
            frames = {one.frame for one in result}
            targets = [Box(one.frame, 10 * one.shot + one.actor, np.array(one.box, np.float32)) for one in truth if one.frame in frames]
            ours.append(idf1(targets, [one for one in result if one.who >= 0]))
            if python:
                peer_boxes = bytetrack(python, path, truth, scratch / "run" / "boxes.json")
                theirs.append(idf1(targets, [one for one in peer_boxes if one.frame in frames]))
        what = f"{kind}: {len(seeds)} films of {SECONDS} s, {FPS} frames/s, 3 people, a cut"
        rows.append(row(f"IDF1, ours, {what}", ours, ""))
        rows.append(row(f"IDF1, ByteTrack, {kind}", theirs, "") if theirs else missing(f"IDF1, ByteTrack, {kind}", absent))
        if theirs:
            better = [one - other for one, other in zip(ours, theirs, strict=True)]
            rows.append(row(f"IDF1, ours less ByteTrack's, {kind}", better, "", Goal(least=LEAST)))
    return rows


def film(liveliness: float, seed: int) -> Film:
    """Return a film of two shots, of three people each."""
    random = np.random.default_rng(seed)

    def roles(actors: Iterable[int], frames: int) -> list[Role]:
        homes = (0.22, 0.5, 0.78)
        return [
            Role(a, films.walk(random, frames, FPS, SIZE, UNIT, home, liveliness), UNIT, []) for a, home in zip(actors, homes, strict=True)
        ]

    return Film(SIZE, FPS, [roles((1, 2, 3), CUT * FPS), roles((4, 5, 6), (SECONDS - CUT) * FPS)], seed)


def tracks(recogniser: Recogniser, path: Path) -> list[Box]:
    """Return the boxes that ours finds, with the number of the track; -1 in a frame without a face."""
    observer = recogniser.observer()
    return [Box(one.frame, one.track, one.box) for one in observer.observations(path, decode.probe(path))]


def bytetrack(python: Path, path: Path, truth: list[Truth], boxes: Path) -> list[Box]:
    """Return the boxes that CenterFace finds in every frame, with ByteTrack's numbers, another hundred for each shot."""
    recogniser = vfer.load("shipped")
    detector, least = recogniser._detector, recogniser.settings.faces.score  # the same weights, input size and least score
    shot_of = {one.frame: one.shot for one in truth}
    shots: list[list[list[list[float]]]] = [[] for _ in range(1 + max(shot_of.values()))]
    for frame in decode.frames(path):
        shots[shot_of[frame.index]].append(detector(frame.grey).tolist())
    boxes.write_text(json.dumps([FPS, least, shots]))
    numbers = json.loads(processes.run([str(python), str(HERE / "bytetrack.py"), str(boxes)], HERE).splitlines()[-1])
    every = [(shot, frame_boxes) for shot, frames in enumerate(shots) for frame_boxes in frames]
    return [
        Box(index, 100 * shot + number, np.array(box[:4], np.float32))
        for index, ((shot, frame_boxes), ids) in enumerate(zip(every, numbers, strict=True))
        for box, number in zip(frame_boxes, ids, strict=True)
        if number >= 0
    ]


def idf1(truth: list[Box], result: list[Box]) -> float:
    """Return the share of boxes that are right about who is who, under the best assignment of found people to true ones.

    Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016.
    """
    rows, columns = ({who: number for number, who in enumerate(sorted({one.who for one in boxes}))} for boxes in (truth, result))
    together = np.zeros((len(rows), len(columns)))
    by_frame: dict[int, list[Box]] = {}
    for one in result:
        by_frame.setdefault(one.frame, []).append(one)
    for one in truth:
        for other in by_frame.get(one.frame, []):
            if iou(one.box[None], other.box[None])[0, 0] >= 0.5:
                together[rows[one.who], columns[other.who]] += 1
    hits = together[linear_sum_assignment(together, maximize=True)].sum()
    return float(2 * hits / (len(truth) + len(result)))
