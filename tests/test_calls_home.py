"""Nothing calls home: a prediction and an MLflow run leave no file and look up no host outside of the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from videos import quadrants, video

LOOKS = """
import os, sys, time
from pathlib import Path

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
        print("looked up", event, arguments)

sys.addaudithook(refuse)
import vfer
if sys.argv[2] == "on":
    del os.environ["ORT_DISABLE_TELEMETRY"]
print(vfer.load("shipped").predict(sys.argv[1]).error)
if sys.argv[2] == "off":
    from vfer.register import tracking
    tracking.connect(Path("repository"))
time.sleep(2)  # ONNX Runtime writes and sends in a thread of its own
"""


def run(folder: Path, telemetry: str) -> tuple[str, list[str], str]:
    """Return what a process printed, the files in its home, and what it said to the network."""
    home, trace = folder / "home", folder / "trace"
    (folder / "repository").mkdir()
    home.mkdir()
    video(folder / "a.mp4", [quadrants()] * 20)
    prefixes = ("XDG_", "MLFLOW_", "ORT_", "VFER_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    environment |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    tracer = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(trace)] if shutil.which("strace") else []
    command = [*tracer, sys.executable, "-W", "ignore", "-c", LOOKS, str(folder / "a.mp4"), telemetry]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert process.returncode == 0, process.stderr
    traffic = [line for line in trace.read_text(errors="replace").splitlines() if "AF_INET" in line] if trace.exists() else []
    return process.stdout, sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()), "\n".join(traffic)


def test_nothing_is_left_or_looked_up_outside_of_the_repository(tmp_path: Path) -> None:
    output, files, traffic = run(tmp_path, "off")
    assert "no frame shows a face" in output
    assert "looked up" not in output
    assert files == []
    assert not traffic


def test_that_test_would_notice(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, left on, is seen by what the other test looks at."""
    _, files, _ = run(tmp_path, "on")
    if not files:
        pytest.skip("this build of ONNX Runtime has no telemetry")
    assert any("device" in name.lower() or "onnx" in name.lower() or "microsoft" in name.lower() for name in files)
