"""Checks of the machine and its Python environment."""

import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from vfer import env, params
from vfer.cli.doctor.check import INSTALL, Status, Verdict, check
from vfer.errors import VferError

CODECS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "mpeg4": "mpeg4", "ffv1": "ffv1"}  # and who encodes it
NAMED = ("tensorflow", "keras", "mlflow", "dvc", "onnxruntime", "av")
GB = 1e9
LEAST_DISK, GOOD_DISK = 0.5, 5  # GB free: below the first nothing can be cached, below the second no real dataset
GOOD_MEMORY = 4  # GB; TensorFlow alone takes 0.7, FER2013 and its batches another


@check("python")
def python(_root: Path) -> Verdict:
    """Is this the Python that the project asks for?"""
    from packaging.specifiers import SpecifierSet

    required = metadata.metadata("vfer")["Requires-Python"]
    version = ".".join(map(str, sys.version_info[:3]))
    if not SpecifierSet(required).contains(version):
        return "fail", f"{version}, expected {required}", f"install Python 3.11, 3.12 or 3.13, then {INSTALL}"
    return "ok", f"{version} at {sys.executable}"


@check("packages")
def packages(_root: Path) -> Verdict:
    """Is every package there, in a version that fits?"""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in metadata.requires("vfer") or ()]
    versions = {item: _version(item.name) for item in requirements if not item.marker or item.marker.evaluate({"extra": ""})}
    if wrong := [f"{item} (found {version})" for item, version in versions.items() if not version or version not in item.specifier]:
        return "fail", f"expected {', '.join(wrong)}", INSTALL
    return "ok", ", ".join(f"{name} {_version(name)}" for name in NAMED)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@check("codecs")
def codecs(_root: Path) -> Verdict:
    """Does a clip of each codec decode, and come back as it was encoded?"""
    with tempfile.TemporaryDirectory() as folder:
        why = {codec: _round_trip(Path(folder) / f"{codec}.mkv", codec, encoder) for codec, encoder in CODECS.items()}
    if broken := [f"{codec} ({reason})" for codec, reason in why.items() if reason]:
        return "fail", f"cannot decode {', '.join(broken)}", "install av from its wheel: `pip install --force-reinstall av`"
    return "ok", f"decodes {', '.join(CODECS)}"


def _round_trip(path: Path, codec: str, encoder: str) -> str:
    """Return why a grey clip of three frames does not come back, or nothing; without an encoder, the decoder need only exist."""
    import av

    from vfer.video.frames import sample

    try:
        av.codec.Codec(codec, "r")
        if encoder not in av.codecs_available:
            return ""
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(encoder, rate=10, options={"x265-params": "log-level=none"} if codec == "hevc" else {})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for _ in range(3):
                frame = av.VideoFrame(64, 64, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([126]) * plane.buffer_size)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        shades = [int(frame.grey[32, 32]) for frame in sample(path, 10, 64)]
    except (av.FFmpegError, ValueError, VferError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if len(shades) == 3 and all(abs(shade - 128) < 4 for shade in shades) else f"frames came back as {shades}"


@check("disk")
def disk(root: Path) -> Verdict:
    """Is there room for data, cache and outputs?"""
    usage = shutil.disk_usage(root)
    detail = f"{usage.free / GB:.1f} of {usage.total / GB:.1f} GB free"
    if usage.free < GOOD_DISK * GB:
        status: Status = "fail" if usage.free < LEAST_DISK * GB else "warn"
        return status, detail, "free some space; `dvc gc --workspace` deletes unused files"
    return "ok", detail


@check("machine")
def machine(_root: Path) -> Verdict:
    """How many processes work on clips, and is there memory for training?"""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    detail = f"{env.cores()} cores, {env.workers()} workers, {memory:.1f} GB of memory"
    if memory < GOOD_MEMORY:
        return "warn", detail, "lower cnn.batch_size, or set VFER_WORKERS=1"
    return "ok", detail


@check("precision")
def precision(root: Path) -> Verdict:
    """Does cnn.precision suit the processor?"""
    from vfer.cnn.params import CnnParams

    setting = params.load(root / "params.yaml", "cnn", CnnParams).precision
    return _advice(setting, has_bf16=bool({"avx512_bf16", "amx_bf16", "bf16"} & _processor_flags()))


def _advice(setting: str, *, has_bf16: bool) -> Verdict:
    detail = f"cnn.precision is {setting}, the processor has {'' if has_bf16 else 'no '}bf16"
    if has_bf16 and setting == "float32":
        return "ok", detail, "cnn.precision: mixed_bfloat16 trains the CNN faster"
    if not has_bf16 and setting == "mixed_bfloat16":
        return "warn", detail, "set cnn.precision: float32, unless a GPU trains"
    return "ok", detail


def _processor_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split(":", 1)[1].split()}
