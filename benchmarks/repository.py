"""A copy of the pipeline in a folder of its own, driven by the commands of its `dvc.yaml` or by `dvc` itself."""

import hashlib
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import yaml

from benchmarks import clips, processes
from vfer.errors import VferError

HOME = Path(__file__).resolve().parent.parent
CODE = ("stages", "src", "architectures", "dvc.yaml", "params.yaml", "packages.yaml", ".dvcignore", ".gitignore", "weights/README.md")
TO_FEATURES = ("frames", "faces", "features")
MODELS = ("outputs/cnn/model.onnx", "outputs/tune/model.onnx")
SCRFD = "weights/scrfd.onnx"


def scrfd_weights(real_data: Path | None) -> Path | None:
    """Return the SCRFD detector in the folder of real data, if there is one."""
    return next(iter(sorted(real_data.glob("weights/*.onnx"))), None) if real_data else None


def stages_run(output: str) -> list[str]:
    """Return the stages that a DVC command says it ran."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


class Repository:
    """A folder with the pipeline's code, some clips, and an untrained CNN in the place of a trained one."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        self.stages = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]

    @classmethod
    def new(cls, root: Path, sources: Sequence[Path], model: Path | None = None) -> Self:
        """Make one in the place of what was there."""
        shutil.rmtree(root, ignore_errors=True)
        for name in CODE:
            source, target = HOME / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
        if sources:
            clips.fill(root / "data", sources)
        for name in MODELS if model else ():
            (root / name).parent.mkdir(parents=True)
            shutil.copyfile(model, root / name)
        return cls(root)

    def set(self, section: str, **values: object) -> None:
        """Change values of params.yaml."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params[section] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def install(self, weights: Path) -> None:
        """Put a SCRFD detector in its place."""
        target = self.root / SCRFD
        shutil.copyfile(weights, target)
        (target.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target.name}\n")

    def command(self, stage: str) -> list[str]:
        """Return a stage's command, as dvc.yaml has it."""
        _, *words = shlex.split(self.stages[stage]["cmd"])
        return [sys.executable, *words]

    def seconds(self, stages: Iterable[str] = TO_FEATURES, **more: str) -> dict[str, float]:
        """Run stages one after the other, as new processes; return the wall time of each."""
        return {stage: processes.seconds(self.command(stage), self.root, DVC_ROOT=str(self.root), **more) for stage in stages}

    def peak_memory(self, stage: str) -> float:
        """Run a stage and return its peak memory in MB."""
        return processes.peak_memory(self.command(stage), self.root, DVC_ROOT=str(self.root))


class Versioned(Repository):
    """The same under git and DVC. What the stages that train would make is put there by hand and committed to DVC."""

    @classmethod
    def new(cls, root: Path, sources: Sequence[Path], model: Path | None = None) -> Self:
        """Make one in the place of what was there; its clips are added to DVC."""
        repository = super().new(root, sources, model)
        (repository.data / "stills.parquet").write_text("no stills\n")
        processes.run(["git", "init", "--quiet"], root)
        repository.dvc("init", "--quiet")
        (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
        repository.dvc("add", "--quiet", "data")
        repository.settle("pretrain", "cnn")
        return repository

    def dvc(self, *words: str) -> str:
        """Run a DVC command and return what it printed."""
        return processes.run(["dvc", *words], self.root)

    def settle(self, *stages: str) -> None:
        """Put a file where each output of the stages should be, where there is none, and tell DVC that they are up to date."""
        for stage in stages:
            for out in (out for kind in ("outs", "metrics", "plots") for out in self.stages[stage].get(kind, [])):
                path = self.root / (out if isinstance(out, str) else next(iter(out)))
                file = path if path.suffix else path / "file"
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.exists():
                    file.write_text(f"in the place of {stage}'s\n")
        self.dvc("commit", "--quiet", "--force", *stages)

    def add(self, sources: Sequence[Path]) -> float:
        """Add clips to the dataset; return the time that `dvc add` took."""
        clips.fill(self.data, sources)
        return self.dvc_seconds("add", "--quiet", "data")

    def dvc_seconds(self, *words: str) -> float:
        """Run a DVC command and return its wall time."""
        start = time.perf_counter()
        self.dvc(*words)
        return time.perf_counter() - start

    def repro(self, *targets: str, runs: Sequence[str]) -> float:
        """Run `dvc repro` and return its wall time; raise `VferError` if it ran other stages than those."""
        start = time.perf_counter()
        output = self.dvc("repro", *targets)
        took = time.perf_counter() - start
        ran = stages_run(output)
        if sorted(ran) != sorted(runs):
            raise VferError(f"`dvc repro` ran {', '.join(ran) or 'nothing'}; expected {', '.join(runs) or 'nothing'}")
        return took
