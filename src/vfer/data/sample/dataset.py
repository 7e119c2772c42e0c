"""Write the rendered sample as a normalised dataset: clips, their manifest, and stills."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.clips import executor
from vfer.data.catalogue import manifest, places
from vfer.data.catalogue import stills as stills_table
from vfer.data.sample import stills as faces
from vfer.data.sample.course import blinks, draw_manner, perform, sway
from vfer.data.sample.identity import draw_identity, draw_scene
from vfer.data.sample.render import HeadPose, Painter
from vfer.data.sample.video import Writer
from vfer.errors import ClipError, DataError

CODES = {"calm": "02", "happy": "03", "sad": "04", "angry": "05", "fear": "06", "disgust": "07", "surprise": "08"}
"""RAVDESS's codes of the paper's seven expressions."""
CRF = {"01": 27, "02": 28}
"""Quality of each modality (01 audio-video, 02 video only); the twins show the same frames, encoded differently."""


@dataclass(frozen=True)
class Recording:
    """One performance to render, by actor, expression and take, and the files that show it."""

    folder: Path
    actor: int
    expression: str
    take: int
    modalities: tuple[str, ...]
    size: tuple[int, int]
    seconds: float
    fps: int
    seed: int

    @property
    def clip(self) -> str:
        """The name without its modality: channel, expression, intensity, statement, repetition, actor."""
        return f"01-{CODES[self.expression]}-{1 + self.take // 4:02d}-{1 + self.take % 2:02d}-{1 + self.take // 2 % 2:02d}-{self.actor:02d}"


def write(
    out: Path,
    *,
    actors: int = 12,
    recordings: int = 2,
    size: tuple[int, int] = (160, 120),
    seconds: float = 2.0,
    fps: int = 15,
    stills: int = 180,
    seed: int = 0,
    modalities: Sequence[str] = ("01", "02"),
    workers: int = 1,
    started: Callable[[int], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Render a dataset into a new or empty folder: `clips/sample/*.mp4`, `clips.csv`, `places.csv` and
    `stills.parquet`.

    `recordings` is per actor and expression, `size` is (width, height), `stills` is per class to train on.
    `started` hears the number of steps, `advance` each one done. The same arguments give the same bytes,
    whatever `workers`. Raises `DataError` if the folder is not empty or an argument is out of range.
    """
    modalities = tuple(modalities)
    _check(actors, recordings, size, seconds, fps, stills, seed, modalities)
    _check_empty(out)
    folder = out / "clips" / "sample"
    jobs = [
        Recording(folder, actor, expression, take, modalities, size, seconds, fps, seed)
        for actor in range(1, actors + 1)
        for expression in CODES
        for take in range(recordings)
    ]
    folder.mkdir(parents=True)
    started(len(jobs) + sum(1 for _ in faces.plan(stills)))
    for _ in _rendered(jobs, workers):
        advance()
    stills_table.write(out / stills_table.FILE, faces.table(stills, seed, advance))
    clips = [clip for job in jobs for clip in rows(job)]
    manifest.write(out / manifest.FILE, clips)
    places.update(out, clips)


def rows(job: Recording) -> Iterator[manifest.Clip]:
    """Yield the manifest's rows of a recording, one a modality."""
    for modality in job.modalities:
        name = f"{modality}-{job.clip}"
        yield manifest.Clip(
            f"sample/{name}", f"clips/sample/{name}.mp4", job.expression, f"sample/{job.actor:02d}", f"sample/{job.clip}", "sample", "scene"
        )


def frames(job: Recording) -> Iterator[NDArray[np.uint8]]:
    """Render a recording frame by frame, uint8 RGB of shape (height, width, 3)."""
    actor = np.random.default_rng([job.seed, 0, job.actor])
    who, scene, manner = draw_identity(actor), draw_scene(actor), draw_manner(actor)
    random = np.random.default_rng([job.seed, 1, job.actor, int(CODES[job.expression]), job.take])
    count = max(1, round(job.seconds * job.fps))
    times = (np.arange(count) + 0.5) / count
    acts, lids = perform(job.expression, times, manner, random), blinks(times, job.seconds, random)
    painter = Painter(who, scene, job.size)
    base = random.uniform(-1, 1, 6) * (0.20, 0.06, 0.03, 0.04, 0.04, 0.02)
    drift = np.stack([sway(times * job.seconds, random) for _ in base], axis=1) * (0.05, 0.03, 0.02, 0.02, 0.03, 0.02)
    for units, closed, (x, y, roll, size, yaw, pitch) in zip(acts, lids, base + drift, strict=True):
        yield painter.frame(units, closed=float(closed), head=HeadPose(x, y, roll, 1 + size, yaw, pitch))


def _render(job: Recording) -> None:
    with ExitStack() as stack:
        writers = [
            stack.enter_context(Writer(job.folder / f"{name}-{job.clip}.mp4", job.size, job.fps, crf=CRF[name], sound=name == "01"))
            for name in job.modalities
        ]
        for frame in frames(job):
            for writer in writers:
                writer.add(frame)


def _rendered(jobs: list[Recording], workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(_render, jobs)
        return
    for job, result in executor.each_clip(_render, jobs, workers=workers):
        if isinstance(result, ClipError):
            raise DataError(f"{job.folder}: {result}")
        yield


def _check(
    actors: int, recordings: int, size: tuple[int, int], seconds: float, fps: int, stills: int, seed: int, modalities: tuple[str, ...]
) -> None:
    width, height = size
    bounds = {
        "actors": (actors, 1, 99),
        "recordings": (recordings, 1, 8),
        "width": (width, 32, 7680),
        "height": (height, 32, 4320),
        "seconds": (seconds, 0.1, 600),
        "fps": (fps, 1, 120),
        "stills": (stills, 1, 100_000),
        "seed": (seed, 0, 2**32 - 1),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise DataError(f"sample: {name} is {value}; expected {least} to {most}")
    if width % 2 or height % 2:
        raise DataError(f"sample: size is {width}x{height}; H.264 needs even sides")
    if not modalities or len(set(modalities)) < len(modalities) or not set(modalities) <= set(CRF):
        raise DataError(f"sample: modalities are {', '.join(modalities) or 'none'}; expected 01, 02 or both")


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not an empty folder; give a new one, or remove it first")
