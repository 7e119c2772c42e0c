"""Fixtures that several test files share."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

# A shell ignores SIGINT for a job in the background, and every process below inherits that: no test could interrupt a command.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN crashes in float32 convolutions of TensorFlow 2.21

CONNECT = "import sys\nfrom pathlib import Path\nfrom vfer.register import tracking\nprint(tracking.connect(Path(sys.argv[1]))[1])"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, since one worker runs a file whole."""
    items.sort(key=lambda item: item.path.stem != "test_pipeline")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets (`VFER_REAL_DATA`); tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("VFER_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real datasets at {path}; set VFER_REAL_DATA")
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose MLflow store two processes have made at the same time, as parallel stages do."""
    root = tmp_path_factory.mktemp("store")
    command = [sys.executable, "-c", CONNECT, str(root)]
    both = [subprocess.Popen(command, cwd=tmp_path_factory.mktemp("elsewhere"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1] != ""
    return root
