"""A Ray cluster of this machine, one CPU a node, for as long as it is measured."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks import processes
from benchmarks.repository import HOME
from vfer.errors import VferError

WAIT = 120.0  # seconds for a node to come up
COUNT = "import ray, sys; ray.init(sys.argv[1], logging_level='error'); print(int(ray.cluster_resources().get('CPU', 0)))"


@contextmanager
def start(nodes: int, folder: Path) -> Iterator[str]:
    """Start a head and as many more nodes as asked for, and give the address; end them, and nothing else, afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    temporary = Path(tempfile.mkdtemp(prefix="ray-"))  # a short path: Ray's sockets lie there
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}", "--disable-usage-stats"]
    running: list[psutil.Popen] = []
    try:
        for node in range(nodes):
            running.append(_start(head if node == 0 else [f"--address={address}"], folder))
            _wait(address, node + 1, running[-1], folder)
        yield address
    finally:
        for process in reversed(running):
            _end(process)
        shutil.rmtree(temporary, ignore_errors=True)


def _start(words: list[str], folder: Path) -> psutil.Popen:
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1", *words]
    environment = processes.environment({"PYTHONPATH": str(HOME / "src")})
    with (folder / "ray.txt").open("a") as output:
        return psutil.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)


def _wait(address: str, cpus: int, process: psutil.Popen, folder: Path) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end and process.poll() is None:
        command = [sys.executable, "-c", COUNT, address]
        result = subprocess.run(command, cwd=folder, env=processes.environment({}), capture_output=True, text=True, check=False)
        if result.returncode == 0 and result.stdout.split()[-1:] == [str(cpus)]:
            return
    raise VferError(f"Ray node {cpus} did not come up: {processes.last_line((folder / 'ray.txt').read_text())}")


def _end(process: psutil.Popen) -> None:
    try:
        children = process.children(recursive=True)
        process.terminate()
    except psutil.NoSuchProcess:
        return
    _, alive = psutil.wait_procs([process, *children], timeout=20)
    for one in alive:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=20)


def is_supported() -> bool:
    """Whether the pipeline can run on a cluster."""
    return "VFER_RAY_ADDRESS" in (HOME / "src" / "vfer" / "env.py").read_text()
