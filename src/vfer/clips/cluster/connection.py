"""Connect this process to a Ray cluster, and tell in one line what is wrong with it."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from vfer.errors import ClusterError

ANSWER = 20.0  # seconds in which a cluster answers


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect this process if it is not connected yet, and only then disconnect it at the end; raises `ClusterError`."""
    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Ray itself would try for minutes, so it does so in a thread that can be left."""
    failed: list[BaseException] = []

    def connect() -> None:
        try:
            if address != "auto":
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=ANSWER).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            failed.append(error)

    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of jobs that nobody asks about any more, as after Ctrl-C
    ray._private.worker._worker_logs_enabled = False  # nor what Ray tells of workers that died: the results tell that
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(ANSWER)
    if thread.is_alive() or failed:
        reason = line(failed[0]) if failed else f"no answer within {ANSWER:.0f} s"
        remedy = "check the address, and run this on a machine of that cluster, or unset it"
        raise ClusterError(f"VFER_RAY_ADDRESS: no Ray cluster at {address} ({reason}); {remedy}")


def nodes() -> list[dict[str, Any]]:
    """Return the nodes that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def line(error: BaseException) -> str:
    """Return what an error says, without the traceback that Ray puts before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next((text.strip() for text in reversed(str(error).splitlines()) if text.strip()), type(error).__name__)
