"""Interrupts a command in the middle of its work."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 90.0  # seconds for it to begin, and then to end


def interrupt(arguments: list[str], folder: Path, ready: Callable[[str], bool], stop: signal.Signals) -> tuple[int, str]:
    """Run `vfer` in a folder and stop it once `ready`, which is given its standard output, is true.

    Returns its exit status and its standard error. Fails where it ends before, or does not begin or end in time.
    """
    out, errors = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("w") as stdout, errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "vfer.cli", *arguments], cwd=folder, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL
        )
        try:
            end = time.monotonic() + LIMIT
            while not ready(out.read_text()):
                assert process.poll() is None, f"it ended before: {errors.read_text()}"
                assert time.monotonic() < end, "it does not begin"
                time.sleep(0.02)
            process.send_signal(stop)
            return process.wait(LIMIT), errors.read_text()
        finally:
            process.kill()
            process.wait(LIMIT)
