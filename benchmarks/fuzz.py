"""Decodes mutated clips as the stage `frames` does, and counts what was not foreseen: `make fuzz`, or `make fuzz CLIPS=500 SEED=8`."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from vfer import env
from vfer.cli import console
from vfer.clips.executor import each_clip
from vfer.data.sample import dataset
from vfer.data.sample.dataset import Recording
from vfer.errors import ClipError, UnexpectedError, VferError
from vfer.video import frames
from vfer.video.frames import FramesJob, FramesParams

CONTAINERS = {
    "mp4": "libx264",
    "mkv": "libx264",
    "avi": "mpeg4",
    "flv": "flv1",
    "ts": "mpeg2video",
    "webm": "libvpx",
}
PARAMS = FramesParams(min_frames=1, max_seconds=600, max_bad=1)
SECONDS = 60.0
"""Time limit of a clip, whose whole original decodes in milliseconds; a clip that reaches it counts as a hang."""
MOST_MEMORY = 600 << 20
"""Bound on the memory of a process in bytes: 4 times what an original takes."""


@dataclass(frozen=True)
class Mutant:
    """A clip that is made of an original by a seed, and decoded, where it is needed."""

    clip: str
    original: Path
    folder: Path
    seed: tuple[int, int]


@dataclass(frozen=True)
class Tally:
    """How many clips decoded or were refused, those that were not foreseen with what happened, and the most memory of a process."""

    outcomes: Counter[str]
    unforeseen: dict[str, str]
    memory: int

    @property
    def line(self) -> str:
        """What is printed in the end."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return f"{self.outcomes.total()} mutated clips: {counts}; at most {self.memory >> 20} MB of memory a process"


def originals(folder: Path, size: tuple[int, int] = (160, 120), seconds: float = 1.0) -> list[Path]:
    """Render one clip of the sample, encode it once for each container, and return the files."""
    recording = Recording(folder, 1, "happy", 0, ("02",), size, seconds, 15, 0)
    pictures = list(dataset.frames(recording))
    paths = []
    for suffix, codec in CONTAINERS.items():
        path = folder / f"original.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.thread_count = 1
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        paths.append(path)
    return paths


def mutants(paths: list[Path], folder: Path, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants, of each original in turn."""
    sources = [paths[number % len(paths)] for number in range(count)]
    return [Mutant(f"{number:05d}{path.suffix}", path, folder, (seed, number)) for number, path in enumerate(sources)]


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Return bytes with one to eight faults: of disks, of transfers, and of those who look for faults."""
    for _ in range(random.integers(1, 9)):
        fault = FAULTS[random.integers(len(FAULTS))]
        content = fault(content, int(random.integers(max(1, len(content)))), random) or content
    return content


def _flip(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :]


def _overwrite(content: bytes, at: int, random: np.random.Generator) -> bytes:
    noise = random.bytes(int(random.integers(1, 257)))
    return (content[:at] + noise + content[at + len(noise) :])[: len(content)]


def _blank(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return (content[:at] + bytes(int(random.integers(1, 4097))) + content[at:])[: len(content)]


def _cut(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return content[:at] + content[at + int(random.integers(1, 2049)) :]


def _repeat(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return content[:at] + content[max(0, at - int(random.integers(1, 2049))) :]


def _end(content: bytes, at: int, _: np.random.Generator) -> bytes:
    return content[:at]


def _extreme(content: bytes, at: int, random: np.random.Generator) -> bytes:
    value = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF)[random.integers(6)]
    return content[:at] + value.to_bytes(4, ("big", "little")[random.integers(2)]) + content[at + 4 :]


def _header(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return _extreme(content, at % 512, random)


Fault = Callable[[bytes, int, np.random.Generator], bytes]
FAULTS: tuple[Fault, ...] = (_flip, _overwrite, _blank, _cut, _repeat, _end, _extreme, _header)


def decode(job: Mutant) -> int:
    """Make a mutant, write its frames table, and return the most memory that this process has had."""
    path = job.folder / job.clip
    table = path.with_suffix(".parquet")
    path.write_bytes(mutate(job.original.read_bytes(), np.random.default_rng(job.seed)))
    try:
        frames.write(FramesJob(job.clip, path, table, "scene", PARAMS))
    except UnexpectedError:
        raise
    except ClipError:
        return -_peak()
    finally:
        path.unlink()
        table.unlink(missing_ok=True)
    return _peak()


def _peak() -> int:
    return peak()


def peak() -> int:
    """Return the most memory that this program has had, in bytes; `getrusage` would count what the process was before it started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/self/status: has no VmHWM")


def run(count: int, seed: int, workers: int, advance: Callable[[], None] = lambda: None) -> Tally:
    """Decode `count` mutants and return what came of them."""
    outcomes, unforeseen, memory = Counter[str](), dict[str, str](), 0
    with tempfile.TemporaryDirectory() as name:
        jobs = mutants(originals(Path(name)), Path(name), count, seed)
        for job, result in _decode_all(jobs, workers):
            if isinstance(result, ClipError):
                unforeseen[job.clip] = str(result)
                outcomes["not foreseen"] += 1
            else:
                outcomes["decoded" if result > 0 else "refused"] += 1
                memory = max(memory, abs(result))
            advance()
    return Tally(outcomes, unforeseen, memory)


def _decode_all(jobs: list[Mutant], workers: int) -> Iterator[tuple[Mutant, int | ClipError]]:
    return each_clip(decode, jobs, workers=workers, initializer=frames.start, seconds=SECONDS)


def main(
    clips: Annotated[int, typer.Option(min=1, help="Mutated clips to decode.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the mutations.")] = 7,
) -> None:
    """Decode mutated clips of six containers; fail where one raises, kills its process, hangs, or takes too much memory."""
    with console.Stage("fuzz") as stage, console.progress() as bar:
        task = bar.add_task("decoding", total=clips)
        tally = run(clips, seed, env.workers(), lambda: bar.advance(task))
        stage.summary = tally.line
        for clip, what in sorted(tally.unforeseen.items()):
            console.warn(f"{clip}: {what}")
    if tally.unforeseen or tally.memory > MOST_MEMORY:
        raise VferError(f"fuzz: {tally.line}; expected none that is not foreseen, and {MOST_MEMORY >> 20} MB at most")


if __name__ == "__main__":
    console.run(main)
