"""A toy step over clips; in a module of its own, since each worker imports it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vfer.errors import ClipError
from vfer.files import replacing


@dataclass(frozen=True)
class Toy:
    """A job that copies its source and leaves a mark in a folder each time it does."""

    clip: str
    source: Path
    target: Path
    about: str = ""


def copy(job: Toy) -> int:
    content = job.source.read_bytes() if job.source.exists() else b""
    if not content:
        raise ClipError(f"{job.source}: is empty")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    job.target.write_bytes(content + job.about.encode())
    (job.source.parents[1] / "made" / f"{job.clip}-{time.time_ns()}").touch()
    return len(content)


def die_once(job: Toy) -> int:
    """Copy the source, at the second attempt: at the first, the process is killed while it writes."""
    mark = job.source.parents[1] / "died"
    if not mark.exists():
        mark.touch()
        with replacing(job.target) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    return copy(job)


def size(path: Path) -> int:
    return path.stat().st_size
