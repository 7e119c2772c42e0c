"""The clips that benchmarks run on: rendered ones, each of other content, long ones, and real ones."""

import multiprocessing
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer import env
from vfer.data.catalogue import manifest, places
from vfer.data.catalogue.manifest import Clip
from vfer.data.sample import CODES
from vfer.data.sample.dataset import Recording, frames
from vfer.data.sample.video import Writer

SMALL = (160, 120)
BASES = 14  # recordings that are rendered; the others are these, with a mark and other brightness
MARK = 4  # pixels of a side of the squares that number a clip


@dataclass(frozen=True)
class Kind:
    """What rendered clips are like."""

    size: tuple[int, int]
    seconds: float
    fps: int

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}-{self.seconds:g}s-{self.fps}"


TINY = Kind((64, 48), 0.2, 10)
SHORT = Kind(SMALL, 0.6, 15)


def render(cache: Path, kind: Kind, count: int) -> list[Path]:
    """Return `count` clips, no two of the same content; those that an earlier run made are used again."""
    folder = cache / f"clips-{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.mp4" for index in range(count)]
    lacking = [(base, [path for path in paths[base::BASES] if not path.exists()]) for base in range(BASES)]
    jobs = [(kind, base, some) for base, some in lacking if some]
    if jobs:
        with ProcessPoolExecutor(env.workers(), mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(_render, jobs))
    return paths


def _render(job: tuple[Kind, int, Sequence[Path]]) -> None:
    kind, base, paths = job
    recording = Recording(Path(), 1 + base // len(CODES), list(CODES)[base % len(CODES)], 0, ("02",), kind.size, kind.seconds, kind.fps, 0)
    pictures = list(frames(recording))
    for path in paths:
        with Writer(path, kind.size, kind.fps, crf=28, sound=False) as writer:
            for picture in pictures:
                writer.add(mark(picture, int(path.stem)))


def mark(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return a picture with its clip's number as black and white squares in a corner, and a little darker by it."""
    darker = (picture * (1 - number % 64 / 640)).astype(np.uint8)
    for bit in range(12):
        darker[:MARK, bit * MARK : (bit + 1) * MARK] = 255 * (number >> bit & 1)
    return darker


def long(cache: Path, kind: Kind, times: int) -> Path:
    """Return one clip that shows a rendered one several times over."""
    [source] = render(cache, kind, 1)
    return repeat(source, source.with_name(f"times-{times}.mp4"), times)


def repeat(source: Path, path: Path, times: int) -> Path:
    """Make a clip that shows another several times over; its packets are copied, not encoded again, and its title is its own."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with av.open(str(temporary), "w", format="mp4") as target:
        target.metadata["title"] = source.stem  # of two sources with the same pictures, the copies still differ
        stream, at = None, 0
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.pts is not None and packet.dts is not None:  # the last one is empty
                        packet.pts, packet.dts, packet.stream = packet.pts + at, packet.dts + at, stream
                        target.mux(packet)
                at += video.duration or 0
    temporary.replace(path)
    return path


def real(folder: Path | None, workers: int) -> list[Path]:
    """Return the real 720p clips, as many as keep all processes busy to the end; none if there are none."""
    import av

    result = []
    for path in sorted(folder.glob("ravdess/**/*.mp4")) if folder else []:
        with av.open(str(path)) as container:
            if container.streams.video[0].height == 720:
                result.append(path)
    return result[: len(result) - len(result) % workers]


def frames_in(paths: Sequence[Path]) -> int:
    """Return how many frames the clips hold together."""
    import av

    total = 0
    for path in paths:
        with av.open(str(path)) as container:
            total += container.streams.video[0].frames
    return total


def fill(data: Path, sources: Sequence[Path]) -> None:
    """Copy clips into a dataset and list all that are there."""
    (data / "clips").mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copyfile(source, data / "clips" / source.name)
    enlist(data, [path.stem for path in sorted((data / "clips").glob("*.mp4"))])


def enlist(data: Path, names: Sequence[str]) -> None:
    """Write the manifest of clips; their expressions and their twelve subjects are made up."""
    expressions = list(CODES)
    rows = []
    for index, name in enumerate(names):
        expression, subject = expressions[index % len(expressions)], f"bench/{index // len(expressions) % 12:02d}"
        rows.append(Clip(f"bench/{name}", f"clips/{name}.mp4", expression, subject, f"bench/{name}", "bench"))
    manifest.write(data / manifest.FILE, rows)
    places.update(data, rows)
