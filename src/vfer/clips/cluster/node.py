"""What runs on a node of the cluster: a check of the node, the start of each process, and the jobs."""

import faulthandler
import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

import vfer
from vfer.clips.attempt import attempt
from vfer.clips.cluster.connection import nodes
from vfer.errors import ClusterError

LIBRARIES = ("av", "insightface", "numpy", "onnx", "onnxruntime", "opencv-python", "pyarrow")  # what computes the outputs


@dataclass(frozen=True)
class Start:
    """What a worker process needs before its first job; `token` is a file that the driver wrote into its workspace."""

    workspace: Path
    token: str
    code: dict[str, str]
    work: Callable[..., Any]
    initializer: Callable[..., None] | None
    initargs: tuple[Any, ...]
    seconds: float | None = None


Given = list["ray.ObjectRef[Start]"]  # Ray fetches what stands in a list only where it is asked for: once a process


# Ray's own retries have no end where memory runs out, so the driver counts them.
@ray.remote(num_cpus=1, max_retries=0)
def do(start: Given, job: Any) -> Any:
    """Do one job; end this process where it takes too long, since nothing else stops a decoder that hangs."""
    work, seconds = _Process.begin(start[0]), _Process.seconds
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        return attempt(work, job)
    finally:
        faulthandler.cancel_dump_traceback_later()


@ray.remote(num_cpus=0, max_retries=0)  # a node whose CPUs are taken answers, too
def look(start: Given) -> None:
    """Raise `ClusterError` if this node cannot do the work."""
    check(ray.get(start[0]))


class _Process:
    """What this worker process has begun with, and how that failed."""

    key: "ray.ObjectRef[Start] | None" = None
    work: Callable[..., Any]
    seconds: float | None = None
    error: Exception | None = None

    @classmethod
    def begin(cls, key: "ray.ObjectRef[Start]") -> Callable[..., Any]:
        """Check the node and run the initializer, once; return the work."""
        if cls.key != key:
            cls.error = None
            try:
                cls._begin(ray.get(key))
            except Exception as error:
                cls.error = error
            cls.key = key
        if cls.error:
            raise cls.error
        return cls.work

    @classmethod
    def _begin(cls, start: Start) -> None:
        check(start)
        os.chdir(start.workspace)
        cls.work, cls.seconds = start.work, start.seconds
        if start.initializer:
            start.initializer(*start.initargs)


def check(start: Start) -> None:
    """Raise `ClusterError` if this node does not see the driver's workspace, or runs other code."""
    if not (start.workspace / start.token).is_file():
        remedy = "mount the storage that holds it on each node, under the same path"
        raise ClusterError(f"Ray node {_name()}: does not see {start.workspace} as the driver does; {remedy}")
    here = code()
    for name, expected in start.code.items():
        if here[name] != expected:
            remedy = "install the same on each node"
            raise ClusterError(f"Ray node {_name()}: has {name} {here[name]}, the driver has {expected}; {remedy}")


def code() -> dict[str, str]:
    """Return the versions of what computes the outputs: Python, the libraries, and a hash of vfer's own sources."""
    home = Path(vfer.__file__).parent
    sources = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        sources.update(f"{path.relative_to(home)}\n".encode() + path.read_bytes())
    libraries = {name: version(name) for name in LIBRARIES}
    return {"vfer": sources.hexdigest()[:12], "Python": platform.python_version(), **libraries}


def _name() -> str:
    here = ray.get_runtime_context().get_node_id()
    return next((str(node["NodeName"]) for node in nodes() if node["NodeID"] == here), here)
