"""A git and DVC repository with the whole pipeline on a tiny rendered dataset: what several test files run `dvc` in."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from vfer.data import sample

HOME = Path(__file__).resolve().parent.parent
TRACKED = (
    "stages",
    "src",
    "architectures",
    "dvc.yaml",
    "params.yaml",
    "packages.yaml",
    "comparison/dvc.yaml",
    ".dvcignore",
    ".gitignore",
    "weights/README.md",
)
STAGES = ("frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate", "register")
FAST = {"cnn": {"epochs": 1, "embedding": 8}, "lstm": {"epochs": 2, "units": 4}}
FAST |= {"frames": {"max_bad": 0.5}, "faces": {"max_faceless": 0.5}}
COMPARED = {"methods": ["lstm", "svm_pooled"], "protocols": {"random": {"folds": 3, "seeds": 1}, "subject": {"folds": 4, "seeds": 1}}}


def stages_run(output: str) -> list[str]:
    """Return the stages of dvc.yaml that a DVC command says it ran."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


@dataclass
class Repository:
    """A git and DVC repository with vfer's pipeline."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)  # beside what any process gets

    def run(self, *command: str, fails: bool = False) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DVC_", "MLFLOW_", "VFER_"))}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        process = subprocess.run(command, cwd=self.root, env=environment | self.environment, capture_output=True, text=True, check=False)
        assert (process.returncode != 0) == fails, process.stdout + process.stderr
        return process.stdout + process.stderr

    def ran(self, *command: str) -> list[str]:
        """Run a DVC command and return the stages that it ran."""
        return stages_run(self.run("dvc", *command))

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "change")

    def metrics(self, stage: str) -> dict[str, object]:
        return dict(json.loads((self.root / "outputs" / stage / "metrics.json").read_text()))

    def experiments(self) -> list[dict[str, str]]:
        """Return the params and tags of the runs of experiments, the newest first, read without MLflow, whose import takes seconds."""
        with closing(sqlite3.connect(self.root / "mlflow.db")) as database:
            runs = database.execute(
                "SELECT run_uuid, artifact_uri FROM runs JOIN tags USING (run_uuid) WHERE lifecycle_stage = 'active' "
                "AND key = 'vfer.kind' AND value = 'experiment' ORDER BY start_time DESC"
            ).fetchall()
            values = {
                kind: [dict(database.execute(f"SELECT key, value FROM {kind} WHERE run_uuid = ?", (run,))) for run, _ in runs]
                for kind in ("params", "tags")
            }
        return [
            {**params, **tags, "id": run, "at": uri}
            for (run, uri), params, tags in zip(runs, values["params"], values["tags"], strict=True)
        ]


def render(data: Path) -> None:
    """Fill a dataset of 28 rendered clips."""
    sample.write(data, actors=4, recordings=1, seconds=0.6, stills=6, modalities=("02",))


def build(root: Path, environment: dict[str, str] | None = None, fill: Callable[[Path], None] = render) -> Repository:
    """Make the repository in an empty folder, with its data tracked and committed, and nothing run yet."""
    for name in TRACKED:
        source, target = HOME / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else shutil.copy(source, target)
    params = yaml.safe_load((root / "params.yaml").read_text())
    for section, values in FAST.items():
        params[section] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    comparison = yaml.safe_load((HOME / "comparison" / "params.yaml").read_text())
    comparison["compare"] |= COMPARED
    comparison["methods"]["nets"] |= {"epochs": 2, "units": 4}
    (root / "comparison" / "params.yaml").write_text(yaml.safe_dump(comparison, sort_keys=False))
    fill(root / "data")
    repo = Repository(root, environment or {})
    repo.run("git", "init", "--quiet")
    repo.run("dvc", "init", "--quiet")
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    repo.run("dvc", "add", "--quiet", "data")
    repo.commit()
    return repo
