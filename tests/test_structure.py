"""How the code hangs together: what an import loads, what a stage depends on, and what no tracked file may hold."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from vfer.clips import store
from vfer.compare.table import ENTRIES

HOME = Path(__file__).resolve().parents[1]
LIBRARY = HOME / "src" / "vfer"
STAGES = sorted(path.stem for path in (HOME / "stages").glob("*.py") if path.stem != "__init__")
PIPELINE = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
COMPARISON = yaml.safe_load((HOME / "comparison" / "dvc.yaml").read_text())["stages"]
WIRING = PIPELINE | COMPARISON
PARAMS = ("params.yaml", "comparison/params.yaml")
TRAIN = {
    "vfer.nets.training",
    "vfer.nets.export",
    "vfer.cnn.model",
    "vfer.nets.mini_xception",
    "vfer.nets.resnet",
    "vfer.nets.xception",
    "vfer.nets.mobilenet",
    "vfer.cnn.looks",
    "vfer.pretrain.faceres",
    "vfer.cnn.train",
    "vfer.cnn.transfer",
    "vfer.pretrain.model",
    "vfer.pretrain.train",
    "vfer.lstm.model",
    "vfer.lstm.train",
    "vfer.compare.methods.nets",
    "vfer.compare.methods.sequences",
    "vfer.compare.methods.streams",
    "vfer.compare.methods.vae",
    "vfer.compare.methods.volume",
}
# They print, look around, or write down what others made; none can change the content of an output.
INFRASTRUCTURE = {"stages", "vfer", "vfer.errors", "vfer.env", "vfer.cli.console", "vfer.params", "vfer.files", "vfer.register.tracking"}


def module_name(path: Path) -> str:
    base = LIBRARY.parent if path.is_relative_to(LIBRARY) else HOME
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted([*LIBRARY.rglob("*.py"), *(HOME / "stages").glob("*.py")])}


def loaded(modules: Iterable[str], unwanted: Iterable[str], then: str = "") -> set[str]:
    """Returns which of the unwanted modules a fresh process has after importing the modules and running a line."""
    code = (
        f"import sys\n{''.join(f'import {module}{chr(10)}' for module in modules)}{then}\nprint(sorted({set(unwanted)} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(ast.literal_eval(ended.stdout.splitlines()[-1]))


def test_only_what_trains_loads_tensorflow() -> None:
    assert set(MODULES) >= TRAIN
    others = [name for name in MODULES if name not in TRAIN and name.startswith("vfer")]
    assert loaded(others, ["tensorflow", "keras"]) == set()


def test_importing_a_stage_loads_neither_tensorflow_nor_mlflow() -> None:
    assert loaded([f"stages.{name}" for name in STAGES], ["tensorflow", "keras", "mlflow"]) == set()


def test_the_command_line_and_its_help_load_nothing_slow() -> None:
    slow = ["numpy", "pyarrow", "cv2", "av", "dvc", "mlflow", "pydantic", "yaml", "rich.markdown", "typer.rich_utils"]
    help_ = "from vfer.cli.app import app\napp(['--help'], standalone_mode=False)"
    assert loaded(["vfer.cli.app"], slow, help_) == set()


class Imports(ast.NodeVisitor):
    """Collects the project's modules that a file imports, also inside its functions, but not for its types alone."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self._add(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "imports are absolute here"
        self._add([str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)])

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            parts = name.split(".")
            self.found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & set(MODULES)


def imports(module: str) -> set[str]:
    visitor = Imports()
    visitor.visit(ast.parse(MODULES[module].read_text()))
    return visitor.found


def closure(module: str) -> set[str]:
    seen: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue.extend(imports(name))
    return seen


def only_reexports(module: str) -> bool:
    """Whether a package's `__init__` holds nothing but a docstring, imports and `__all__`."""
    if MODULES[module].name != "__init__.py":
        return False
    body = ast.parse(MODULES[module].read_text()).body
    return all(
        isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in body
    )


def code_deps(stage: str) -> list[Path]:
    return [HOME / dep for dep in WIRING[stage]["deps"] if dep.split("/")[0] in ("src", "stages")]


def test_the_closure_sees_what_it_must() -> None:
    """The test's own instrument: imports in functions, through packages, and those for types alone."""
    assert {"vfer.nets.training", "vfer.nets.xception", "vfer.evaluate.scores"} <= closure("stages.cnn")
    assert "vfer.lstm.train" in imports("stages.lstm")
    assert only_reexports("vfer.faces")


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_depends_on_all_the_code_it_runs(stage: str) -> None:
    needed = {name for name in closure(f"stages.{stage}") - INFRASTRUCTURE if not only_reexports(name)}
    missing = {name for name in needed if not any(MODULES[name].is_relative_to(dep) for dep in code_deps(stage))}
    assert missing == set(), f"dvc.yaml: {stage}: deps lack {sorted(missing)}"


def test_the_methods_are_found_by_name_and_count_whole() -> None:
    """They are imported by name, so that no closure sees them, nor what they need to train."""
    assert {"src/vfer/compare/methods", "src/vfer/nets"} <= set(COMPARISON["method"]["deps"])
    named = {f"vfer.compare.methods.{entry.module}" for entry in ENTRIES.values()}
    outside = {name for module in named for name in closure(module) if not name.startswith("vfer.compare.methods")} - INFRASTRUCTURE
    assert all(any(MODULES[name].is_relative_to(dep) for dep in code_deps("method")) for name in outside if not only_reexports(name))
    for entry in ENTRIES.values():
        inside = {MODULES[name] for name in closure(f"vfer.compare.methods.{entry.module}") if name.startswith("vfer.compare.methods.")}
        assert set(entry.code) == inside, entry.module
        read = {part for part in ("nets", "encodings") if any(f"task.{part}" in path.read_text() for path in entry.code)}
        assert entry.settings == read, entry.module
    assert sorted(yaml.safe_load((HOME / PARAMS[1]).read_text())["compare"]["methods"]) == sorted(ENTRIES)


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_depends_on_no_code_that_it_does_not_run(stage: str) -> None:
    called = {f"vfer.compare.methods.{entry.module}" for entry in ENTRIES.values()} if stage == "method" else set()
    used = [MODULES[name] for start in (f"stages.{stage}", *called) for name in closure(start)]
    stale = [str(dep.relative_to(HOME)) for dep in code_deps(stage) if not any(path.is_relative_to(dep) for path in used)]
    assert stale == [], f"dvc.yaml: {stage}: deps that are not imported, or do not exist"


@pytest.mark.parametrize(
    ("stage", "start"),
    [
        ("frames", "vfer.video.frames"),
        ("faces", "vfer.faces.clip"),
        ("pretrain", "vfer.pretrain.subjects"),
        ("features", "vfer.features"),
        ("motion", "vfer.video.motion"),
        ("method", "vfer.compare.folds"),
    ],
)
def test_the_store_s_recipe_names_all_the_code_that_makes_an_entry(stage: str, start: str) -> None:
    script = importlib.import_module(f"stages.{stage}")
    named = [store.sources(Path(str(module.__file__))) for module in script.CODE]
    if stage == "method":
        named.append(ENTRIES["lstm"].code)
    needed = {name for name in closure(start) - INFRASTRUCTURE - {"vfer.data.manifest"} if not only_reexports(name)}
    assert {name for name in needed if not any(MODULES[name] in files for files in named)} == set()


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_reads_only_params_that_exist(stage: str) -> None:
    for listed in WIRING[stage].get("params", []):
        files = listed if isinstance(listed, dict) else {PARAMS[0]: [listed]}
        for file, keys in files.items():
            given = yaml.safe_load((HOME / file).read_text())
            for key in keys:
                section, _, name = key.partition(".")
                assert section in given, key
                assert not name or name in given[section], key


def test_one_word_names_stage_module_and_params() -> None:
    sections = set(yaml.safe_load((HOME / "params.yaml").read_text()))
    assert list(PIPELINE) == ["frames", "faces", "pretrain", "cnn", "features", "lstm", "evaluate", "register"]
    assert list(COMPARISON) == ["motion", "method", "compare"]
    assert set(STAGES) == set(WIRING)
    assert sections == set(PIPELINE) | {"seed", "labels", "split"}
    assert {name.rpartition(".")[2] for name in MODULES if name.startswith("vfer.")} >= set(PIPELINE)
    for stage, wired in WIRING.items():
        assert wired["cmd"].startswith(f"python -m stages.{stage} ")
        assert f"--out outputs/{'comparison/' if stage in COMPARISON else ''}" in wired["cmd"]


def tracked_texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git repository, so nothing says which files belong to it")
    for name in listed.stdout.decode().split("\0"):
        path = HOME / name
        if name and path.is_file():
            content = path.read_bytes()
            if b"\0" not in content[:8192]:
                yield name, content.decode("utf-8", errors="replace")


FORBIDDEN = {
    "a path that only one machine has": re.compile(r"(?<![\w.}\-])/(?:root|home|Users|tmp|mnt|opt|srv)/\w"),
    "this very folder": re.compile(re.escape(str(HOME)) + r"\b"),
    "the address of a package index": re.compile(r"index[-]url|pypi\.org/simple|files\.pythonhosted"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_ties_the_project_to_a_machine(what: str) -> None:
    found = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in FORBIDDEN[what].finditer(text)]
    assert found == []
