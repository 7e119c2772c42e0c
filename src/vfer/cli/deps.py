"""`vfer deps`: write to dvc.yaml the code and the packages that each stage imports."""

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from vfer.clips import packages
from vfer.clips.closure import closure
from vfer.errors import DataError

WIRING = ("dvc.yaml", "comparison/dvc.yaml")
IMPORTED_BY_NAME = dict.fromkeys(("pretrain", "cnn", "tune", "folds"), ("architectures",)) | {"method": ("vfer.compare.methods",)}
"""Packages whose modules a stage imports by a param's name."""
WIDTH = 140


def deps(
    root: Annotated[Path, typer.Option(help="The repository.")] = Path(),
    check: Annotated[bool, typer.Option("--check", help="Change nothing, and fail if something is out of date.")] = False,
) -> None:
    """Update packages.yaml and the code and packages that the stages in dvc.yaml depend on."""
    from vfer.cli.console import console
    from vfer.files import write_bytes

    sys.path.insert(0, str(root.resolve()))  # where the stages are
    texts = {name: (root / name).read_text(encoding="utf-8") for name in WIRING}
    packages_used: dict[str, tuple[str, ...]] = {}
    rewired = {name: _rewire(text, root, packages_used) for name, text in texts.items()}
    rewired[packages.FILE] = packages.text(packages_used)
    before = {name: path.read_text(encoding="utf-8") if (path := root / name).is_file() else "" for name in rewired}
    outdated = [name for name, text in rewired.items() if text != before[name]]
    if check and outdated:
        raise DataError(f"{', '.join(outdated)}: out of date with the code or the installed packages; run `make deps`")
    for name in outdated:
        write_bytes(root / name, rewired[name].encode())
    console.print(f"deps: {', '.join(outdated) if outdated else 'nothing'} changed", markup=False)


def _rewire(text: str, root: Path, packages_used: dict[str, tuple[str, ...]]) -> str:
    """Return the text of a dvc.yaml whose stages depend on all their code and packages; add the packages to `packages_used`."""
    import yaml

    lines = text.splitlines()
    for stage, wiring in yaml.safe_load(text)["stages"].items():
        work = closure([f"stages.{stage}", *_by_name(stage, root)])
        packages_used[stage] = work.packages
        data = [dep for dep in wiring["deps"] if dep.split("/")[0] not in ("src", "stages")]
        _replace(lines, stage, "deps", [*data, *cover(work.files.values(), root)])
        params = [param for param in wiring["params"] if not (isinstance(param, dict) and packages.FILE in param)]
        _replace(lines, stage, "params", [*params, {packages.FILE: [stage]}])
    return "\n".join(lines) + "\n"


def _by_name(stage: str, root: Path) -> list[str]:
    """Return the modules that a stage imports by a param's name."""
    modules = []
    for package in IMPORTED_BY_NAME.get(stage, ()):
        base = root / "src" if package.startswith("vfer.") else root
        files = sorted((base / package.replace(".", "/")).glob("*.py"))
        modules += [f"{package}.{file.stem}" for file in files if file.stem != "__init__"]
    return modules


def cover(files: Iterable[Path], root: Path) -> list[str]:
    """Return few paths that hold all these files: folders of whose own modules they are two and a third at least, and single files."""
    modules_used = {file.resolve() for file in files}

    def of(path: Path) -> list[Path]:
        if path.is_file():
            return [path] if path in modules_used else []
        modules = {file for file in path.glob("*.py") if file.name != "__init__.py" or file in modules_used}
        if 1 < len(modules & modules_used) >= len(modules) / 3:
            return [path]
        return inside(path)

    def inside(folder: Path) -> list[Path]:
        return [part for child in sorted(folder.iterdir()) for part in of(child)]

    top = root.resolve()
    code = inside(top / "src" / "vfer")
    scripts = [path for path in sorted((top / "stages").glob("*.py")) if path in modules_used]
    return [path.relative_to(top).as_posix() for path in [*scripts, *code]]


def _replace(lines: list[str], stage: str, key: str, values: list[Any]) -> None:
    """Put a list, in flow style and wrapped, in place of that of a stage's key."""
    at = next(i for i in range(lines.index(f"  {stage}:"), len(lines)) if lines[i].startswith(f"    {key}:"))
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith("     ")), len(lines))
    text = f"    {key}: [{', '.join(map(_flow, values))}]"
    lines[at:end] = textwrap.wrap(text, WIDTH, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: [{', '.join(map(_flow, inner))}]" for name, inner in value.items()) + "}"
    return f'"{value}"' if "$" in value else str(value)
