"""What decides a result: the closure of the code, the packages, and the hash that serves store, checkpoints, DVC and MLflow."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import project
import pytest
import yaml

from vfer.clips import closure, fingerprint, packages
from vfer.errors import DataError, VferError

HOME = Path(__file__).resolve().parents[1]
WORK = {  # what a stage keeps under a fingerprint: where the modules that make it are named
    **{stage: f"stages.{stage}:CODE" for stage in ("frames", "faces", "features", "motion", "cnn", "tune", "lstm")},
    "tables": "stages.features:TABLES",
    "pretrain": "stages.pretrain:TRAINING",
    "register": "vfer.register.inputs:CODE",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `architectures` of a user's networks, one of which imports in each of the ways that Python has."""
    folder = tmp_path / "architectures"
    (folder / "parts").mkdir(parents=True)
    (folder / "net.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "import architectures.plain\n"
        "from architectures import second\n"
        "from .parts import block\n"
        "if TYPE_CHECKING:\n    from architectures.types import T\n"
        "def build(x):\n    from architectures.late import f\n    import numpy, yaml, json\n    return f(x)\n"
    )
    for name in ("plain", "second", "late", "types", "unused", "parts/inner"):
        (folder / f"{name}.py").write_text("f = 1\n")
    (folder / "parts" / "__init__.py").write_text("from .inner import f as block\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_all_that_is_imported_counts_but_for_types(own: Path) -> None:
    work = closure.closure(["architectures.net"])
    names = {name.removeprefix("architectures.") for name in work.files}
    assert names == {"net", "plain", "second", "parts", "parts.inner", "late"}
    assert all(file.is_relative_to(own) for file in work.files.values())
    assert {"numpy", "PyYAML"} <= set(work.packages), "of a user's own network every package counts"


def test_a_module_that_nobody_watches_is_one_line() -> None:
    with pytest.raises(VferError, match="nowhere: there is no such module in the folders vfer, stages, architectures"):
        closure.closure(["nowhere"])


SETTINGS = {"units": 3, "merge": {"neutral": "calm"}}


def of(own: Path, **changes: Any) -> str:
    (own.parent / "input").write_text("content")
    arguments = {"settings": SETTINGS, "code": ["architectures.net"], "inputs": [own.parent / "input", np.arange(3), "text"]} | changes
    return fingerprint.fingerprint(arguments["settings"], code=arguments["code"], inputs=arguments["inputs"])


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"settings": dict(reversed(SETTINGS.items()))}, True),
        ({"settings": SETTINGS | {"units": 4}}, False),
        ({"settings": SETTINGS | {"merge": {"neutral": "sad"}}}, False),
        ({"inputs": ["content"]}, False),
        ({"code": ["architectures.plain"]}, False),
    ],
)
def test_settings_inputs_and_modules_count(own: Path, changes: dict[str, Any], same: bool) -> None:
    assert (of(own, **changes) == of(own)) is same


def test_arrays_count_by_their_values_types_and_shapes() -> None:
    arrays = [np.arange(6), np.arange(6.0), np.arange(6).reshape(2, 3), np.arange(6)[::-1], np.arange(12)[::2], np.array(["a", "b"])]
    assert len({fingerprint.fingerprint({}, inputs=[array]) for array in arrays}) == len(arrays)
    assert fingerprint.fingerprint({}, inputs=[np.arange(12)[::2]]) == fingerprint.fingerprint({}, inputs=[np.arange(0, 12, 2)])


def edit(own: Path, name: str, text: str) -> None:
    path = own / name
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("late.py", "f = 2\n", False),
        ("parts/inner.py", "f = 2\n", False),
        ("late.py", "# a comment\n\n", True),
        ("types.py", "f = 2\n", True),
        ("unused.py", "f = 2\n", True),
    ],
)
def test_code_counts_by_what_it_does(own: Path, name: str, text: str, same: bool) -> None:
    before = of(own)
    edit(own, name, text)
    assert (of(own) == before) is same


def test_docstrings_do_nothing(own: Path) -> None:
    (own / "late.py").write_text('"""One."""\ndef f(x):\n    """Two."""\n    return x\n')
    before = of(own)
    (own / "late.py").write_text('"""Three."""\n\n\ndef f(x):\n    return x\n')
    assert of(own) == before


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_s_key_sees_its_code_and_its_packages_and_no_linter(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _, name = WORK[stage].partition(":")
    code = getattr(importlib.import_module(module), name)
    work = closure.closure(code)
    before = fingerprint.fingerprint({}, code=code)
    real_version, real_digest = closure.version, closure.digest
    for package in (*work.packages, "ruff", "mypy", "typer", "rich", "mlflow"):
        monkeypatch.setattr(closure, "version", lambda name, other=package: "0" if name == other else real_version(name))
        assert (fingerprint.fingerprint({}, code=code) != before) is (package in work.packages), package
    monkeypatch.setattr(closure, "version", real_version)
    for module, file in work.files.items():
        monkeypatch.setattr(closure, "digest", lambda path, other=file: "0" if path == other else real_digest(path))
        assert fingerprint.fingerprint({}, code=code) != before, module
    assert work.packages, "a stage that computes with nothing does nothing"


@pytest.mark.parametrize("name", ["dvc.yaml", "comparison/dvc.yaml"])
def test_dvc_sees_an_upgraded_runtime_and_another_delimiter(name: str) -> None:
    stages = yaml.safe_load((HOME / name).read_text())["stages"]
    versions = yaml.safe_load((HOME / packages.FILE).read_text())
    for stage, entry in stages.items():
        work = closure.closure([f"stages.{stage}"])
        assert {packages.FILE: [stage]} in entry["params"]
        assert {*work.packages} <= {*versions[stage]}, stage
        assert ("src/vfer/files.py" in entry["deps"]) is ("vfer.files" in work.files), stage
    if name == "dvc.yaml":
        assert all("src/vfer/files.py" in entry["deps"] for entry in stages.values()), "all write tables"
        assert all("architectures" in stages[stage]["deps"] for stage in ("pretrain", "cnn", "tune")), "a user's networks"


class KeyedError(Exception):
    """Ends a stage where it would begin to train."""


def training_key(stage: str, root: Path, changes: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the key under which a stage's training would be found again."""

    def stop(*args: Any) -> None:
        raise KeyedError(args[3])

    monkeypatch.setattr("vfer.register.live.training", stop)
    params = yaml.safe_load((HOME / "params.yaml").read_text())
    for section, values in changes.items():
        params[section] = params[section] | values if isinstance(params[section], dict) else values
    config = root / "params.yaml"
    config.write_text(yaml.safe_dump(params))
    arguments = {
        "lstm": [root / name for name in ("outputs/features/features.parquet", "data")],
        "cnn": [root / name for name in ("stills.parquet", "outputs/pretrain/weights", "weights")],
    }
    main = importlib.import_module(f"stages.{stage}").main
    with pytest.raises(KeyedError) as excinfo:
        main(*arguments[stage], config, root / "out")
    return str(excinfo.value)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    project.make(root)
    return root


@pytest.mark.parametrize(
    ("stage", "changes", "same"),
    [
        ("lstm", {"register": {"significance": 0.01}}, True),
        ("lstm", {"labels": {"merge": {"dark": "gloomy"}}}, False),
        ("lstm", {"lstm": {"units": 3}}, False),
        ("lstm", {"seed": 1}, False),
        ("lstm", {"split": {"folds": 3, "fold": 1}}, False),
        ("cnn", {"lstm": {"units": 3}}, True),
        ("cnn", {"labels": {"merge": {"dark": "gloomy"}}}, False),
        ("cnn", {"cnn": {"dropout": 0.1}}, False),
    ],
)
def test_a_training_is_resumed_only_with_the_same_labels_settings_and_seed(
    stage: str, changes: dict[str, Any], same: bool, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"labels": {"merge": {"dark": "dim"}}}
    before, now = (training_key(stage, toy, each, monkeypatch) for each in (labels, labels | changes))
    assert (before == now) is same


def test_what_the_stages_run_under_is_what_is_installed(tmp_path: Path) -> None:
    packages.check(HOME / packages.FILE)
    path = tmp_path / "packages.yaml"
    path.write_text((HOME / packages.FILE).read_text().replace("onnxruntime: ", "onnxruntime: 0."))
    with pytest.raises(DataError, match=r"onnxruntime 0\..* is recorded, but 1\..* is installed; .*`make env`.*`make deps`.*`dvc repro`"):
        packages.check(path)
    path.write_text("frames: {nosuchpackage: 1}\n")
    with pytest.raises(DataError, match="nosuchpackage 1 is recorded, but none is installed"):
        packages.check(path)
    path.write_text("[")
    with pytest.raises(DataError, match=r"git checkout packages\.yaml"):
        packages.check(path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The wiring and the code, to change."""
    for name in ("dvc.yaml", "comparison/dvc.yaml", "packages.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(HOME / name, tmp_path / name)
    for name in ("src", "stages", "architectures"):
        shutil.copytree(HOME / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def packages_of(root: Path, stage: str) -> set[str]:
    return {*yaml.safe_load((root / packages.FILE).read_text())[stage]}


def wiring(root: Path, stage: str) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage])


def test_the_wiring_is_written_from_the_imports_and_checked(repository: Path) -> None:
    def run(*options: str, fails: bool = False) -> str:
        command = [sys.executable, "-m", "vfer.cli", "deps", "--root", str(repository), *options]
        environment = os.environ | {"PYTHONPATH": str(repository / "src")}
        process = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
        assert (process.returncode != 0) is fails, process.stderr
        return str(process.stdout + process.stderr)

    assert "nothing changed" in run("--check")
    script = repository / "stages" / "features.py"
    script.write_text(
        script.read_text().replace("import shutil\n", "import shutil\nimport sklearn\nfrom vfer.data.catalogue import split\n")
    )
    assert "dvc.yaml, packages.yaml: out of date" in run("--check", fails=True)
    before = (repository / "dvc.yaml").read_text()
    run()
    now = wiring(repository, "features")
    assert {"src/vfer/data/catalogue/split.py", "src/vfer/data/catalogue/places.py", "outputs/faces/clips"} <= set(now["deps"])
    assert {"scikit-learn", "scipy"} <= packages_of(repository, "features")
    (repository / "architectures" / "mine.py").write_text("import av\n")
    run()
    assert "av" in packages_of(repository, "cnn"), "a network of one's own counts"
    for path in (repository / "architectures" / "mine.py", script):
        path.unlink() if path.name == "mine.py" else path.write_text((HOME / "stages" / "features.py").read_text())
    run()
    assert (repository / "dvc.yaml").read_text() == before
