"""Install SCRFD weights in the weights folder, under DVC, and remove them."""

import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vfer import env, files
from vfer.clips.digests import digest
from vfer.errors import WeightsError
from vfer.faces import weights as store
from vfer.faces.params import FacesParams

if TYPE_CHECKING:
    from dvc.repo import Repo

Progress = Callable[[int, int], None]
"""Takes the bytes of a download that have come, and its size, 0 if that is unknown."""
CHUNK = 1 << 18
TIMEOUT = 30
LICENCE = "insightface's pretrained weights are for non-commercial research only; vfer neither ships nor republishes them"
_LARGE = "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
_SMALL = "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"


class Pack(NamedTuple):
    """The detector inside one of insightface's packs."""

    file: str
    sha256: str


PACKS = {
    "antelopev2": Pack("scrfd_10g_bnkps.onnx", _LARGE),
    "buffalo_l": Pack("det_10g.onnx", _LARGE),
    "buffalo_s": Pack("det_500m.onnx", _SMALL),
    "buffalo_sc": Pack("det_500m.onnx", _SMALL),
}


def add(source: str, weights: Path, sha256: str | None = None, progress: Progress = lambda *_: None) -> str:
    """Install a local ONNX file or the detector of an insightface pack as `scrfd.onnx`, and return its sha256.

    A pack is taken from `~/.insightface/models` if it is there, and downloaded otherwise. The file is recorded in
    `SHA256SUMS` and added to DVC; both records are staged in git. Raises `WeightsError`, and leaves what was installed
    before as it is, where the source cannot be had, has another hash, or is not an SCRFD detector.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"--sha256 {sha256}: is not a SHA-256 hash; expected 64 hex digits")
    repo = _repository(weights)
    with tempfile.TemporaryDirectory() as folder:
        onnx, expected = _obtain(source, Path(folder), progress)
        actual = digest(onnx)
        for required in filter(None, (expected, sha256)):
            if actual != required.lower():
                raise WeightsError(f"{source}: the sha256 of {onnx.name} is {actual}, expected {required.lower()}; get the original file")
        store.build("scrfd", onnx.read_bytes(), actual, Path(source), FacesParams())
        _put(onnx, weights, actual)
    _track(repo, weights)
    return actual


def remove(weights: Path) -> bool:
    """Take the SCRFD weights out of the folder and out of DVC; return whether there were any."""
    onnx, pointer = weights / store.SCRFD_FILE, weights / f"{store.SCRFD_FILE}.dvc"
    there = onnx.exists() or pointer.exists() or store.SCRFD_FILE in store.sums(weights)
    if pointer.exists():
        _repository(weights).remove(str(pointer.resolve()), outs=True)
    onnx.unlink(missing_ok=True)
    _record(weights, None)
    return there


def _obtain(source: str, folder: Path, progress: Progress) -> tuple[Path, str | None]:
    """Return the ONNX file that a path or the name of a pack refers to, and its expected hash."""
    pack = PACKS.get(source)
    if pack is None:
        if not Path(source).is_file():
            raise WeightsError(f"{source}: is neither an ONNX file nor a pack; the packs are {', '.join(sorted(PACKS))}")
        return Path(source), None
    for local in _local(source, pack):
        if local.is_file():
            return local, pack.sha256
    return _unpack(_download(source, folder, progress), source, pack), pack.sha256


def _local(name: str, pack: Pack) -> list[Path]:
    folder = Path.home() / ".insightface" / "models" / name
    return [folder / pack.file, folder / name / pack.file]  # some packs hold a folder of their own name


def _download(name: str, folder: Path, progress: Progress) -> Path:
    url, target = f"{env.insightface_url()}/{name}.zip", folder / f"{name}.zip"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, target.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                progress(file.tell(), size)
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        raise WeightsError(f"{url}: cannot be downloaded ({error}); {_by_hand(name)}") from error
    if size and target.stat().st_size != size:
        raise WeightsError(f"{url}: the download stopped at {target.stat().st_size} of {size} bytes; try again, or {_by_hand(name)}")
    return target


def _by_hand(name: str) -> str:
    pack = PACKS[name]
    where = f"download {name}.zip elsewhere, unpack its {pack.file}"
    return f"{where}, and run `vfer detector add {pack.file} --sha256 {pack.sha256}`"


def _unpack(archive: Path, name: str, pack: Pack) -> Path:
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.namelist() if Path(member).name == pack.file]
            if not members:
                raise WeightsError(f"{name}.zip: holds no {pack.file}; {_by_hand(name)}")
            target = archive.with_name(pack.file)
            with content.open(members[0]) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"{name}.zip: is damaged ({error}); try again, or {_by_hand(name)}") from error
    return target


def _put(onnx: Path, weights: Path, sha256: str) -> None:
    with files.replacing(weights / store.SCRFD_FILE) as temporary:
        shutil.copyfile(onnx, temporary)
    _record(weights, sha256)


def _track(repo: "Repo", weights: Path) -> None:
    from dvc.exceptions import DvcException

    try:
        with repo.scm_context() as context:
            context.track_file(str((weights / store.SUMS_FILE).resolve()))
            repo.add(str((weights / store.SCRFD_FILE).resolve()))
    except DvcException as error:
        raise WeightsError(f"{weights / store.SCRFD_FILE}: DVC cannot add it ({error}); fix that, then run `dvc add` on it") from error


def _record(weights: Path, sha256: str | None) -> None:
    """Write the entry of `scrfd.onnx` in `SHA256SUMS`, or drops it."""
    entries = {name: value for name, value in store.sums(weights).items() if name != store.SCRFD_FILE}
    if sha256 is not None:
        entries[store.SCRFD_FILE] = sha256
    path = weights / store.SUMS_FILE
    if not entries:
        path.unlink(missing_ok=True)
        return
    files.write_bytes(path, "".join(f"{value}  {name}\n" for name, value in sorted(entries.items())).encode())


def _repository(weights: Path) -> "Repo":
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import NoSCM

    try:
        repo = Repo(Repo.find_root(str(weights.resolve().parent)))
    except NotDvcRepoError as error:
        raise WeightsError(f"{weights}: is not in a DVC repository; run this in the project's folder") from error
    repo.scm_context.autostage = not isinstance(repo.scm, NoSCM)  # `dvc exp run --temp` copies only what git knows
    return repo
