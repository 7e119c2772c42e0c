"""Fills the disk under each stage and some commands, then lets them end: `python -m benchmarks.full_disk` (Linux).

The repository and the temporary files lie on a small file system in memory, in a user namespace where need be. Each command runs with
no space left, with a little, and with half of what its outputs take. It must end with one line or, where that suffices, with its whole
outputs, must leave no file half-written, and must make the same bytes once there is space.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import processes
from benchmarks.kills import Pipeline
from benchmarks.repository import HOME
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.errors import VferError

STAGES = ("frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate", "register")
UNLIKE = ("run.json", "register.json", "report.json")  # which hold ids of MLflow's
SIZE = "1500m"
LITTLE = 64 << 10
INSIDE = "--inside"


@dataclass(frozen=True)
class Command:
    """A command, the folder of its outputs, and what else is deleted so that it has all its work to do."""

    name: str
    words: list[str]
    out: Path
    others: tuple[Path, ...] = ()


class Disk:
    """The small file system with a repository on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Pipeline.new(folder / "repository", [])
        self.repository.prepare()
        (folder / "tmp").mkdir()
        self.environment = {"DVC_ROOT": str(self.repository.root), "TMPDIR": str(folder / "tmp"), "VFER_STORE": str(folder / "store")}

    def commands(self) -> Iterator[Command]:
        """Yield what is run, in its order."""
        root = self.repository.root
        for stage in STAGES:
            others = (root / "mlflow.db", root / "mlruns") if stage == "register" else (self.folder / "store",)
            yield Command(stage, self.repository.command(stage), root / "outputs" / stage, others)
        vfer = [sys.executable, "-c", "from vfer.cli.app import main; main()"]
        clips = [str(path) for path in sorted((root / "data" / "clips").rglob("*.mp4"))[:4]]
        yield Command("predict", [*vfer, "predict", *clips, "--model", "shipped", "--output", "predict/clips.csv"], root / "predict")
        options = ["--model", "shipped", "--output", "timeline", "--annotate", "timeline/film.mp4"]
        (root / "timeline").mkdir()
        yield Command("timeline", [*vfer, "timeline", clips[0], *options], root / "timeline")
        source = root / "source"
        (source / "happy").mkdir(parents=True)
        for number, clip in enumerate(sorted((root / "data" / "clips").rglob("*.mp4"))):
            shutil.copyfile(clip, source / "happy" / f"s{number}_1.mp4")
        yield Command(
            "data add",
            [*vfer, "data", "add", "folder", str(source), "--data", "added"],
            root / "added",
            (root / "added.dvc", root / ".dvc" / "cache"),
        )

    def run(self, command: Command) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        environment = processes.environment(self.environment)
        return subprocess.run(command.words, cwd=self.repository.root, env=environment, capture_output=True, text=True, check=False)

    @contextmanager
    def fill(self, free: int) -> Iterator[None]:
        """Leave so many bytes."""
        ballast = self.folder / "ballast"
        state = os.statvfs(self.folder)
        with ballast.open("wb") as stream:
            if (size := state.f_bavail * state.f_frsize - free) > 0:
                os.posix_fallocate(stream.fileno(), 0, size)
        try:
            yield
        finally:
            ballast.unlink()


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of each file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return {str(path.relative_to(folder)): digest(path) for path in paths}


def fault(disk: Disk, command: Command, free: int, whole: dict[str, str]) -> str:
    """Run a command on a full disk; return what is wrong of how it ends or what it leaves, or nothing."""
    with disk.fill(free):
        result = disk.run(command)
        outputs = contents(command.out)
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    if result.returncode:
        if "Traceback" in result.stderr:
            return f"a traceback: {processes.plain(lines[-1])}"
        if sum(line.startswith("error: ") for line in lines) != 1:
            return f"no line that says why: {processes.plain(lines[-1]) if lines else 'it said nothing'}"
    wrong = [name for name, value in outputs.items() if not name.endswith(UNLIKE) and whole.get(name) != value]
    if not result.returncode and set(outputs) != set(whole):
        return f"success, though {len(set(whole) - set(outputs))} files are missing"
    return f"{', '.join(wrong[:3])} half-written" if wrong else ""


def examine(disk: Disk, command: Command) -> list[str]:
    """Return what is wrong of one command: with too little space, and afterwards."""
    first = disk.run(command)
    if first.returncode:
        raise VferError(f"{command.name}: fails with space too: {processes.last_line(first.stderr or first.stdout)}")
    whole = contents(command.out)
    size = sum((command.out / name).stat().st_size for name in whole)
    faults = []
    for free in (0, min(LITTLE, size // 4), size // 2):
        for path in (command.out, *command.others):
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        if command.name == "timeline":
            command.out.mkdir()
        problem = fault(disk, command, free, whole)
        faults += [f"{command.name} with {free} bytes left: {problem}"] if problem else []
        again = disk.run(command)
        after = contents(command.out)
        differ = [name for name in whole if not name.endswith(UNLIKE) and after.get(name) != whole[name]]
        if again.returncode or differ or set(after) != set(whole):
            reason = processes.last_line(again.stderr or again.stdout) if again.returncode else ", ".join(differ or set(after) ^ set(whole))
            faults.append(f"{command.name} after {free} bytes were left: {reason}")
    return faults


def main(
    inside: Annotated[bool, typer.Option(INSIDE, hidden=True)] = False,
    scratch: Annotated[Path, typer.Option(help="Folder where the small file system is mounted.")] = HOME / ".bench" / "full",
    only: Annotated[str, typer.Option(help="Only this stage or command, after those before it.")] = "",
) -> None:
    """Fill the disk under each stage; fail where one ends badly or leaves something half-written."""
    scratch.mkdir(parents=True, exist_ok=True)
    if not inside:
        mount = f'mount -t tmpfs -o size={SIZE} vfer "$0" && exec "$@"'
        again = [sys.executable, "-m", "benchmarks.full_disk", INSIDE, "--scratch", str(scratch), *(["--only", only] if only else [])]
        raise typer.Exit(subprocess.run(["unshare", "-rm", "sh", "-c", mount, str(scratch), *again], check=False).returncode)
    with console.Stage("full disk") as stage:
        disk = Disk(scratch)
        faults: list[str] = []
        count = 0
        for command in disk.commands():
            if only and command.name != only:
                if only in STAGES:
                    disk.run(command)
                continue
            problems = examine(disk, command)
            count += 1
            for one in problems or [f"{command.name}: ends with one line or its whole outputs, and goes on"]:
                console.console.print(one, markup=False)
            faults += problems
        stage.summary = f"{count} commands, each with three amounts of space: {len(faults)} faults"
        if faults:
            raise VferError(f"full disk: {len(faults)} faults")


if __name__ == "__main__":
    console.run(main)
