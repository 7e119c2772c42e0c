"""`packages.yaml`: the versions of the packages that compute, as DVC knows them."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vfer.clips.closure import versions
from vfer.errors import DataError

FILE = "packages.yaml"
HEAD = "# Written by `make deps`: the packages that decide results. DVC runs again what a new version touches.\n"


def text(packages: Iterable[str]) -> str:
    """Return the file's content for the installed versions."""
    return HEAD + "".join(f"{name}: {number}\n" for name, number in sorted(versions(packages).items()))


def check(path: Path) -> None:
    """Raise `DataError` where a package of another version is installed than the file says, since DVC would not know of it."""
    import yaml

    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, number in recorded.items():
            if _installed(name) != str(number):
                raise DataError(
                    f"{path}: {name} {number} is recorded, but {_installed(name) or 'none'} is installed; run `make env` to install the "
                    "former, or `make deps` to record the latter, then `dvc repro`"
                )
    except (OSError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read; restore it with `git checkout {path.name}`, or run `make deps`") from error


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
