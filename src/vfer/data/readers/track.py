"""Keep the dataset under DVC: as one output, `<data>.dvc`, pushed to the user's own remote."""

import os
from pathlib import Path

import yaml

from vfer.data.catalogue import manifest, stills
from vfer.errors import DataError


def repository(data: Path) -> Path:
    """Return the root of the DVC repository that holds the data folder; raise `DataError` outside of one."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    parent = next(folder for folder in data.absolute().parents if folder.is_dir())
    try:
        return Path(Repo.find_root(str(parent)))
    except NotDvcRepoError as error:
        raise DataError(f"{data}: is not in a DVC repository; run `dvc init` there, or pass --no-dvc") from error


def check_out(data: Path) -> None:
    """Raise `DataError` if DVC tracks the dataset and its files are not there, since adding would drop what is tracked.

    The embedded sample, which gives way to real data, need not be there.
    """
    tables = (data / manifest.FILE, data / stills.FILE)
    if _pointer(data).exists() and not any(table.exists() for table in tables) and not is_sample(data):
        raise DataError(
            f"{data}: is tracked by {_pointer(data)} but its files are missing; run `dvc checkout {_pointer(data)}` or `dvc pull` first"
        )


def is_sample(data: Path) -> bool:
    """Return whether DVC's file of the dataset is that of the embedded sample, which is never pushed."""
    out = _out(data)
    return out is not None and out.get("push") is False


def check(data: Path, root: Path) -> None:
    """Raise `DataError`, before anything is changed, where DVC could not track the dataset in the end."""
    if data.is_symlink():
        disk = data.resolve().parent / "dvc-cache"
        raise DataError(
            f"{data}: is a link, which DVC cannot track; make it a folder, and move DVC's cache to the larger disk instead: "
            f"`dvc cache dir {disk}` and `dvc config cache.type symlink`"
        )
    version(data)
    parent = next(folder for folder in data.absolute().parents if folder.is_dir())
    for path in (parent, data, _pointer(data), root / ".dvc", root / ".dvc" / "tmp", root / ".dvc" / "cache"):
        if path.exists() and not os.access(path, os.W_OK):
            raise DataError(f"{path}: cannot be written; allow writing there, or add data elsewhere with --data")


def version(data: Path) -> str | None:
    """Return the hash of the dataset that DVC tracks, or None if it tracks none."""
    out = _out(data)
    return None if out is None else str(out["md5"])


def track(data: Path, root: Path) -> str:
    """Run `dvc add` on the data folder and return the hash of its new version.

    The sample's `remote` and `push: false` are dropped first: `dvc add` would keep them, and `dvc push` would silently skip the data.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.utils.serialize import modify_yaml

    try:
        if _pointer(data).exists():
            with modify_yaml(_pointer(data)) as content:
                for out in content["outs"]:
                    out.pop("remote", None)
                    out.pop("push", None)
        with Repo(str(root)) as repo:
            repo.scm_context.quiet = True  # the command says itself what to commit
            repo.add(str(data.resolve()))
    except DvcException as error:
        raise DataError(
            f"{data}: `dvc add` failed: {' '.join(str(error).split())}; the files are in place, run `dvc add {data}` then"
        ) from error
    return str(version(data))


def _out(data: Path) -> dict[str, object] | None:
    """Return the dataset's entry in DVC's file, or None if there is no such file."""
    path = _pointer(data)
    if not path.exists():
        return None
    try:
        out = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["outs"][0])
        out["md5"]  # must be there
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError) as error:
        raise DataError(f"{path}: is not a DVC file with an md5; restore it with `git checkout {path}`") from error
    return out


def _pointer(data: Path) -> Path:
    return data.with_name(f"{data.name}.dvc")
