"""Check of the default DVC remote: it answers and holds the dataset."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from vfer.cli.doctor.check import Verdict, check

if TYPE_CHECKING:
    from dvc.repo import Repo

PATIENCE = 10  # seconds until a remote counts as one that does not answer
LOOK = "import sys; from vfer.cli.doctor.remote import look; look(*sys.argv[1:])"


@check("remote")
def remote(root: Path) -> Verdict:
    """Does the default DVC remote answer, and is the dataset there?"""
    if not (root / ".dvc").is_dir():
        return "warn", "was not checked, since there is no DVC repository", "give the repository's folder with --root"
    version = _pushed(root / "data.dvc")
    # A process of its own: a storage's client may wait for minutes, and can be ended in no other way.
    command = [sys.executable, "-W", "ignore", "-c", LOOK, str(root), version]
    environment = {"AWS_MAX_ATTEMPTS": "1"} | os.environ
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(process.stderr.strip().splitlines()[-1] if process.stderr.strip() else "the look at the remote ended")
    state = json.loads(process.stdout.splitlines()[-1])
    name, where = state["name"], f"{state['name']} ({state['url']})"
    if not name:
        return "ok", "none is set, so data and results stay on this machine", "a team shares them through one: docs/sharing.md"
    if state["error"]:
        return "fail", f"{where}: {state['error']}", f"fix url, endpointurl or credentials of the remote {name}: docs/sharing.md"
    if version and not state["holds"]:
        return "warn", f"{where} answers, but lacks the dataset", "run `dvc push`"
    return "ok", f"{where} answers{' and holds the dataset' if version else ''}"


def _pushed(pointer: Path) -> str:
    """Return the hash of the dataset that belongs on the default remote; nothing if there is none, or it has its own."""
    if not pointer.is_file():
        return ""
    out = yaml.safe_load(pointer.read_bytes())["outs"][0]
    return "" if "remote" in out else str(out["md5"])


def look(root: str, version: str) -> None:
    """Prints, as one line of JSON, the default remote and whether it holds a version, or why it cannot tell; ends the process."""
    from dvc.repo import Repo

    with Repo(root) as repo:
        name = repo.config["core"].get("remote")
        state = {"name": name, "url": repo.config["remote"].get(name, {}).get("url"), "error": None, "holds": False}
        timer = threading.Timer(PATIENCE, _end, [state | {"error": f"does not answer within {PATIENCE} seconds"}])
        timer.daemon = True
        timer.start()
        try:
            if name:
                state["holds"] = _holds(repo, version)
        except Exception as error:
            state["error"] = " ".join(str(error).split())[:160]
        _end(state)


def _holds(repo: "Repo", version: str) -> bool:
    storage = repo.cloud.get_remote()
    if storage.fs.protocol == "s3":
        try:
            storage.fs.ls(storage.path, detail=False)  # DVC's own question takes a missing bucket for an empty one
        except FileNotFoundError as error:
            if error.__cause__:
                raise
    return bool(version and storage.odb.exists(version))


def _end(state: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(state)}\n")
    sys.stdout.flush()
    os._exit(0)
