"""Every environment variable that vfer reads, and those that it sets for other libraries."""

import ctypes
import os
import platform
import re
from pathlib import Path

from vfer.errors import VferError

CPU = Path("/proc/cpuinfo")
MAX_PICTURE = 40_000_000
"""Pixels of a picture file: more than any camera of today's phones takes by default, and 0.3 GB at most while it is decoded."""
INSIGHTFACE_URL = "https://github.com/deepinsight/insightface/releases/download/v0.7"


def cores() -> int:
    """Processor cores that this process may use; on macOS, which has no such limit, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers() -> int:
    """Processes that a map over clips uses: `VFER_WORKERS`, or one a core; raises `VferError` if that is not a number above 0."""
    value = os.environ.get("VFER_WORKERS") or str(cores())
    if not value.isdecimal() or int(value) < 1:
        raise VferError(f"VFER_WORKERS: expected a whole number of at least 1, got {value!r}; fix it, or unset it")
    return int(value)


def ray_address() -> str | None:
    """Ray cluster that runs the maps over clips: `VFER_RAY_ADDRESS`, `host:port` or `auto`; none means processes of this machine."""
    value = os.environ.get("VFER_RAY_ADDRESS")
    if value and value != "auto" and not re.fullmatch(r"[^\s/]+:\d+", value):
        raise VferError(f"VFER_RAY_ADDRESS: expected host:port (usually 6379) or auto, got {value!r}; fix it, or unset it")
    return value or None


def insightface_url() -> str:
    """Address of insightface's packs: `VFER_INSIGHTFACE_URL`, or its release page."""
    return os.environ.get("VFER_INSIGHTFACE_URL", INSIGHTFACE_URL).rstrip("/")


def repository() -> Path | None:
    """Root of the DVC repository that runs this stage (the parent one in `dvc exp run --temp`)."""
    root = os.environ.get("DVC_ROOT")
    return Path(root) if root else None


def store() -> Path | None:
    """Folder of the clip store: `VFER_STORE` (`none` for no store), or beside the DVC cache of the repository that runs this stage."""
    value, root = os.environ.get("VFER_STORE"), repository()
    if value:
        return None if value == "none" else Path(value)
    return root / ".dvc" / "cache" / "vfer" if root else None


def experiment() -> str | None:
    """Name of the DVC experiment under way; none under plain `dvc repro`."""
    return os.environ.get("DVC_EXP_NAME") or None


def experiment_baseline() -> str | None:
    """Commit that the DVC experiment under way starts from."""
    return os.environ.get("DVC_EXP_BASELINE_REV") or None


def tracking_uri() -> str | None:
    """MLflow server that the user has set; none means the repository's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def mlflow_login() -> tuple[str, str, str]:
    """User, password and token for the MLflow server, as MLflow itself reads them; empty if unset."""
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
    user, password, token = (os.environ.get(name, "") for name in names)
    return user, password, token


def cache() -> Path:
    """Folder for models fetched from a server: `VFER_CACHE`, or `vfer` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VFER_CACHE") or Path(base) / "vfer")


def multiplies_bfloat16() -> bool:
    """Whether this machine's processor does, by what Linux tells of it."""
    flags = CPU.read_text(encoding="utf-8") if CPU.is_file() else ""
    return re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) is not None


def prepare_libraries() -> None:
    """Set, where the user has not, what libraries read when they are imported: no telemetry, no logs of OpenCV's, a limit on pictures.

    ONNX Runtime otherwise keeps a device id and events in the user's cache, and looks up a host. OpenCV writes to standard error what
    callers see as exceptions or empty results anyway.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def prepare_tensorflow(precision: str = "", *, separable: bool = True) -> None:
    """Set what TensorFlow reads when it is imported, where the user has not.

    Args:
        precision: Of the convolutions to come: `float32`, `mixed_bfloat16`, `auto`, or nothing if there are none.
        separable: Whether `SeparableConv2D` may be among them. In float32, oneDNN crashes while it trains them (TensorFlow 2.21); all
            others train a third faster with it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _keep_freed_memory()
    if precision == "float32" or (precision == "auto" and not multiplies_bfloat16()):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0" if separable else "1")


def _keep_freed_memory() -> None:
    """Let glibc keep what TensorFlow frees after each step, for it asks for as much in the next.

    Otherwise the system takes the pages back and clears them again, a fifth of the processor time of a small CNN's training.
    """
    if platform.libc_ver()[0] == "glibc":
        trim, pad, mmap = -1, -2, -3  # malloc.h; the last one must not exceed half a heap of a thread, 32 MB
        for option, value in (trim, 2**30), (pad, 2**26), (mmap, 2**25):
            ctypes.CDLL(None).mallopt(option, value)
