"""`packages.yaml`: the versions of the packages that decide results, as DVC knows them."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vfer.clips.closure import versions
from vfer.errors import DataError

FILE = "packages.yaml"
HEAD = "# Written by `make deps`: the packages that decide each stage's results. DVC runs the stage again when a version changes.\n"


def text(packages: Mapping[str, Iterable[str]]) -> str:
    """Return the file's content for the installed versions of each stage's packages."""
    import yaml

    lines = (yaml.safe_dump({stage: versions(names)}, default_flow_style=None, width=1000) for stage, names in packages.items())
    return HEAD + "".join(lines)


def check(path: Path) -> None:
    """Raise `DataError` if a package of another version is installed than the file says, since DVC would not know of it."""
    import yaml

    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))
        recorded = {name: str(number) for packages in stages.values() for name, number in packages.items()}
    except (OSError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read; restore it with `git checkout {path.name}`, or run `make deps`") from error
    for name, number in recorded.items():
        if _installed(name) != number:
            raise DataError(
                f"{path}: {name} {number} is recorded, but {_installed(name) or 'none'} is installed; run `make env` to install the "
                "former, or `make deps` to record the latter, then `dvc repro`"
            )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
