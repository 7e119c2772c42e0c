"""How the code hangs together: what an import loads, what a stage depends on, and what no tracked file may hold."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

from vfer.clips.closure import COMPUTING, closure, externals, imports
from vfer.compare.table import ENTRIES

HOME = Path(__file__).resolve().parents[1]
LIBRARY = HOME / "src" / "vfer"
STAGES = sorted(path.stem for path in (HOME / "stages").glob("*.py") if path.stem != "__init__")
PIPELINE = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
COMPARISON = yaml.safe_load((HOME / "comparison" / "dvc.yaml").read_text())["stages"]
WIRING = PIPELINE | COMPARISON
PACKAGES = yaml.safe_load((HOME / "packages.yaml").read_text())
PARAMS = ("params.yaml", "comparison/params.yaml")
TRAIN = {
    "vfer.nets.training",
    "vfer.nets.average",
    "vfer.nets.checkpoint",
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
    "vfer.cnn.tune",
    "vfer.pretrain.model",
    "vfer.pretrain.train",
    "vfer.nets.sequences",
    "vfer.lstm.learn",
    "vfer.lstm.train",
    "vfer.compare.methods.nets",
    "vfer.compare.methods.sequences",
    "vfer.compare.methods.streams",
    "vfer.compare.methods.vae",
    "vfer.compare.methods.volume",
}


def module_name(path: Path) -> str:
    base = LIBRARY.parent if path.is_relative_to(LIBRARY) else HOME
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted([*LIBRARY.rglob("*.py"), *(HOME / "stages").glob("*.py")])}


def find_modules(modules: Iterable[str], suspects: Iterable[str], then: str = "") -> set[str]:
    """Return which of the unwanted modules a fresh process has after importing the modules and running a line."""
    code = (
        f"import sys\n{''.join(f'import {module}{chr(10)}' for module in modules)}{then}\nprint(sorted({set(suspects)} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return set(ast.literal_eval(process.stdout.splitlines()[-1]))


def test_only_what_trains_loads_tensorflow() -> None:
    assert set(MODULES) >= TRAIN
    others = [name for name in MODULES if name not in TRAIN and name.startswith("vfer")]
    assert find_modules(others, ["tensorflow", "keras"]) == set()


def test_importing_a_stage_loads_neither_tensorflow_nor_mlflow() -> None:
    assert find_modules([f"stages.{name}" for name in STAGES], ["tensorflow", "keras", "mlflow"]) == set()


def test_the_command_line_and_its_help_load_nothing_slow() -> None:
    slow = ["numpy", "pyarrow", "cv2", "av", "dvc", "mlflow", "pydantic", "yaml", "rich.markdown", "typer.rich_utils"]
    help_ = "from vfer.cli.app import app\napp(['--help'], standalone_mode=False)"
    assert find_modules(["vfer.cli.app"], slow, help_) == set()


def code_deps(stage: str) -> list[Path]:
    return [HOME / dep for dep in WIRING[stage]["deps"] if dep.split("/")[0] in ("src", "stages")]


def entry_modules(stage: str) -> list[str]:
    """The modules whose closure a stage runs; those of the methods are imported by name."""
    return [f"stages.{stage}", *({entry.code for entry in ENTRIES.values()} if stage == "method" else ())]


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_depends_on_all_the_code_and_the_packages_it_runs(stage: str) -> None:
    work = closure(entry_modules(stage))
    missing = [name for name, file in work.files.items() if not any(file.is_relative_to(dep) for dep in code_deps(stage))]
    assert missing == [], f"dvc.yaml: {stage}: run `make deps`"
    assert {"packages.yaml": [stage]} in WIRING[stage]["params"]
    assert set(PACKAGES[stage]) == set(work.packages), f"packages.yaml: {stage}: run `make deps`"


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_depends_on_no_code_that_it_does_not_run(stage: str) -> None:
    paths = closure(entry_modules(stage)).files.values()
    stale = [str(dep.relative_to(HOME)) for dep in code_deps(stage) if not any(path.is_relative_to(dep) for path in paths)]
    assert stale == [], f"dvc.yaml: {stage}: run `make deps`"


def test_the_pipeline_is_read_at_a_glance() -> None:
    lines = (HOME / "dvc.yaml").read_text().splitlines()
    assert len(lines) <= 92
    assert max(map(len, lines)) <= 140
    assert len([path for path in LIBRARY.iterdir() if path.name != "__pycache__"]) <= 20


def room(module: str) -> str:
    """The package or module right below `vfer` that a module belongs to."""
    return ".".join(module.split(".")[:2])


def test_no_room_imports_one_that_imports_it() -> None:
    """Imports inside functions count; `vfer` itself only names what the rooms offer."""
    rooms: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name.startswith("vfer."):
            rooms.setdefault(room(name), set()).update({room(one) for one in imports(name, path) if one.startswith("vfer.")} - {room(name)})
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_modules_and_functions_are_short() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lengths.items() if count > 250} == {}
    functions = sorted(
        node.end_lineno - node.lineno + 1
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    )
    assert functions[len(functions) // 2] <= 10
    assert functions[len(functions) * 9 // 10] <= 30


def test_a_class_name_stands_for_one_idea() -> None:
    names = [
        (node.name.strip("_"), name)
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    counts = Counter(name for name, _ in names)
    assert {name: [module for one, module in names if one == name] for name, count in counts.items() if count > 1} == {}


def test_every_package_that_is_imported_is_known_to_compute_or_not_to() -> None:
    passive = {"dvc", "filelock", "mlflow", "pydantic", "ray", "rich", "sqlalchemy", "threadpoolctl", "typer", "yaml"}
    packages = externals([module for stage in WIRING for module in entry_modules(stage)]) - set(sys.stdlib_module_names)
    assert packages - passive - set(COMPUTING) == set(), "add it to COMPUTING in vfer.clips.closure, or here"


def test_every_method_reads_the_settings_it_says() -> None:
    for entry in ENTRIES.values():
        inside = [file for name, file in closure([entry.code]).files.items() if name.startswith("vfer.compare.methods.")]
        settings = {part for part in ("nets", "encodings", "lstm") if any(f"task.{part}" in path.read_text() for path in inside)}
        assert entry.settings == settings, entry.module
    assert sorted(yaml.safe_load((HOME / PARAMS[1]).read_text())["compare"]["methods"]) == sorted(ENTRIES)


@pytest.mark.parametrize("stage", WIRING)
def test_a_stage_reads_only_params_that_exist(stage: str) -> None:
    for entry in WIRING[stage].get("params", []):
        files = entry if isinstance(entry, dict) else {PARAMS[0]: [entry]}
        for file, keys in files.items():
            sections = yaml.safe_load((HOME / file).read_text())
            for key in keys:
                section, _, name = key.partition(".")
                assert section in sections, key
                assert not name or name in sections[section], key


def test_the_pipeline_fits_on_a_screen_and_a_half() -> None:
    assert len((HOME / "dvc.yaml").read_text().splitlines()) <= 80


def test_one_word_names_stage_module_and_params() -> None:
    sections = set(yaml.safe_load((HOME / "params.yaml").read_text()))
    assert list(PIPELINE) == ["frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate", "register"]
    assert list(COMPARISON) == ["motion", "folds", "method", "compare"]
    assert set(STAGES) == set(WIRING)
    assert sections == set(PIPELINE) | {"seed", "labels", "split"}
    assert {name.rpartition(".")[2] for name in MODULES if name.startswith("vfer.")} >= set(PIPELINE)
    for stage, entry in WIRING.items():
        assert entry["cmd"].startswith(f"python -m stages.{stage} ")
        assert f"--out outputs/{'comparison/' if stage in COMPARISON else ''}" in entry["cmd"]


def tracked_texts() -> Iterator[tuple[str, str]]:
    process = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=False)
    if process.returncode:
        pytest.skip("this is not a git repository, so nothing says which files belong to it")
    for name in process.stdout.decode().split("\0"):
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
    matches = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in FORBIDDEN[what].finditer(text)]
    assert matches == []
