"""The package `fer`, installed into an environment of its own and run over every frame as its documentation does."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from vfer.errors import VferError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pass:
    """One pass of `fer` over clips: seconds until it was ready, seconds of the frames, and what it saw."""

    ready: float
    loop: float
    frames: int
    faces: int
    threads: int

    @property
    def whole(self) -> float:
        """Seconds from the start of the process to the last frame."""
        return self.ready + self.loop


def install(cache: Path, name: str = "fer") -> Path:
    """Return the Python of a package's environment, made by `uv` where it is not there yet; raise `VferError` if it cannot be made.

    What it holds stands in `NAME.txt` beside this file.
    """
    folder, marker, requirements = cache / name, cache / name / "requirements.txt", HERE / f"{name}.txt"
    python = folder / "bin" / "python"
    if marker.exists() and marker.read_bytes() == requirements.read_bytes():
        return python
    uv = shutil.which("uv", path=processes.environment({})["PATH"])
    if not uv:
        raise VferError("uv is not installed; `make env` installs it")
    cache.mkdir(parents=True, exist_ok=True)
    processes.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], cache)
    command = [uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(requirements)]
    try:
        processes.run([*command, "--torch-backend", "cpu"], cache)
    except VferError:  # that one is on PyTorch's own index, which is not always within reach; the usual one is larger
        processes.run(command, cache)
    shutil.copyfile(requirements, marker)
    return python


def answers(python: Path, detector: str, clips_file: Path) -> list[str | None]:
    """Return the answers of `fer` to the clips that a JSON file lists: videos, or arrays of crops."""
    output = processes.run([str(python), str(HERE / "fer_answers.py"), detector, str(clips_file)], HERE, CUDA_VISIBLE_DEVICES="")
    return list(json.loads(output.splitlines()[-1]))


def watch(python: Path, detector: str, clips: Sequence[Path]) -> Pass:
    """Run `fer` with the detector `haar` or `mtcnn` over every frame of the clips, on as many threads as it likes."""
    command = [str(python), str(HERE / "fer_frames.py"), detector, *map(str, clips)]
    output = processes.run(command, HERE, CUDA_VISIBLE_DEVICES="", STARTED=repr(time.time()))
    return Pass(**json.loads(output.splitlines()[-1]))
