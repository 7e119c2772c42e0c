"""Several files as one entry of the clip store."""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from vfer.files import replacing


def pack(folder: Path, names: Iterable[str], path: Path) -> None:
    """Write files of a folder into one file, atomically; the same files give the same bytes."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as bundle:
        for name in sorted(names):
            with (folder / name).open("rb") as source, bundle.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def unpack(path: Path, names: Iterable[str], folder: Path) -> None:
    """Write the files of those names that `pack` packed into a folder, each atomically."""
    with zipfile.ZipFile(path) as bundle:
        for name in names:
            with bundle.open(name) as source, replacing(folder / name) as temporary, temporary.open("wb") as target:
                shutil.copyfileobj(source, target)
