"""Runs commands as a user would, and measures their time and memory."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from vfer.errors import VferError

OURS = ("DVC_", "MLFLOW_", "VFER_", "PYTHON", "RAY_")
EVERY = 0.02  # seconds between two looks at the memory
PLACE = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)*(?=[\w.+-])")


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what would change the pipeline, and with `more`."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', os.defpath)}"
    return {**variables, "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def run(command: Sequence[str], folder: Path, **more: str) -> str:
    """Run a command to its end and return what it printed; raise `VferError` with its last line where it fails."""
    process = subprocess.run(command, cwd=folder, env=environment(more), capture_output=True, text=True, check=False)
    if process.returncode:
        raise VferError(f"`{plain(' '.join(command))}` failed: {last_line(process.stderr or process.stdout)}")
    return process.stdout


def show(command: Sequence[str], folder: Path) -> None:
    """Run a command to its end and let it print; raise `VferError` if it fails."""
    if status := subprocess.run(command, cwd=folder, env=environment({}), check=False).returncode:
        raise VferError(f"`{plain(' '.join(command))}` failed with status {status}")


def seconds(command: Sequence[str], folder: Path, **more: str) -> float:
    """Run a command as `run` does and return the wall time that it took."""
    start = time.perf_counter()
    run(command, folder, **more)
    return time.perf_counter() - start


def peak_memory(command: Sequence[str], folder: Path, **more: str) -> float:
    """Run a command and return the most memory in MB that it and the processes it started held at once (sum of resident sizes)."""
    with (folder / "output.txt").open("w+") as output:
        process = psutil.Popen(command, cwd=folder, env=environment(more), stdout=output, stderr=output)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(EVERY)
        if process.returncode:
            output.seek(0)
            raise VferError(f"`{plain(' '.join(command))}` failed: {last_line(output.read())}")
    return peak / 1e6


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return total
    return total


def last_line(text: str) -> str:
    """Return the last line that says something, without the folders of this machine."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return plain(lines[-1]) if lines else "it said nothing"


def plain(text: str) -> str:
    """Return a text without the folders of this machine."""
    return PLACE.sub("", text)
