"""Servers that tests start and stop: S3 (moto), PostgreSQL, and MLflow over both."""

import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START, STOP = 120, 20  # most seconds that a server takes on a busy machine
# Waits until the process that runs the tests ends, however it does, then ends the server and removes its folder.
GUARD = 'read -r _; kill -s INT -- "-$1"; sleep 10; kill -s KILL -- "-$1"; rm -rf "$2"'
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3:
    """An S3 server with its address, and what a client of it has in its environment."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        return KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}

    def make(self, bucket: str) -> None:
        self._client().create_bucket(Bucket=bucket)

    def objects(self, bucket: str) -> set[str]:
        """The names of all objects in a bucket."""
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def _client(self) -> Any:
        import boto3

        key, secret, region = KEYS.values()
        return boto3.client("s3", endpoint_url=self.address, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret)


@contextmanager
def answering(status: int, body: str, kind: str) -> Iterator[str]:
    """Run a server that gives everybody the same answer, and yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_address[1]}"
        service.shutdown()


@contextmanager
def s3() -> Iterator[S3]:
    """Run an empty S3 server."""
    with _folder() as folder, _running([sys.executable, "-m", "moto.server", "-p", "0"], r"Running on (http://\S+)", folder) as address:
        yield S3(address)


@contextmanager
def postgresql() -> Iterator[str]:
    """Run an empty PostgreSQL on a socket of its own and yield its address; skip the test where it is not installed."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: float(path.parent.name))
    initdb = shutil.which("initdb", path=f"{os.environ['PATH']}{os.pathsep}{programs}")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _unprivileged_user() if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with _folder(user) as folder:
        data = folder / "data"
        options = ["--username", "mlflow", "--auth", "trust", "--no-locale", "--encoding", "UTF8", "--no-sync"]
        subprocess.run([initdb, "--pgdata", str(data), *options], check=True, capture_output=True, cwd=folder, user=user)
        postgres = [str(Path(initdb).resolve().with_name("postgres")), "-D", str(data), "-k", str(folder)]
        with _running([*postgres, "-c", "listen_addresses=", "-c", "fsync=off"], "(ready) to accept connections", folder, user=user):
            yield f"postgresql+psycopg2://mlflow@/postgres?host={folder}"


@contextmanager
def mlflow(database: str, artifacts: str, environment: dict[str, str]) -> Iterator[str]:
    """Run an MLflow server that keeps runs in a database and artifacts at an address that only it need reach; yield its own."""
    server = [sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--port", "0", "--workers", "1"]
    stores = ["--backend-store-uri", database, "--artifacts-destination", artifacts]
    light = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        _folder() as folder,
        _running([*server, *stores], r"Uvicorn running on (http://\S+)", folder, environment | light) as address,
    ):
        yield address


def _unprivileged_user() -> str:
    import pwd

    return next(entry.pw_name for name in ("postgres", "nobody") for entry in pwd.getpwall() if entry.pw_name == name)


@contextmanager
def _folder(user: str | None = None) -> Iterator[Path]:
    """A folder with a short path, which a socket needs, outside of pytest's own, which another user cannot enter."""
    folder = Path(tempfile.mkdtemp(prefix="vfer-"))
    try:
        if user:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(
    command: Sequence[str], ready: str, folder: Path, environment: dict[str, str] | None = None, user: str | None = None
) -> Iterator[str]:
    """Run a server while the block lasts, and yield the word by which its log says that it is ready."""
    log = folder / "log"
    with log.open("wb") as stream:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))}
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables | (environment or {}),
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            user=user,
        )
    guard = subprocess.Popen(["sh", "-c", GUARD, "guard", str(process.pid), str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield _await_ready(process, log, ready)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP)
        with suppress(ProcessLookupError):  # whatever has not ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        guard.kill()
        guard.communicate()


def _await_ready(process: "subprocess.Popen[bytes]", log: Path, ready: str) -> str:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if match := re.search(ready, log.read_text(errors="replace")):
            return match[1]
        assert process.poll() is None, f"{process.args} ended: {log.read_text(errors='replace')}"
        time.sleep(0.05)
    raise AssertionError(f"{process.args} is not ready within {START} s: {log.read_text(errors='replace')}")
