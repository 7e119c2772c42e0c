"""Kills `dvc repro` at random moments, then lets it end: `python -m benchmarks.kills`."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
import yaml

from benchmarks import processes
from benchmarks.repository import HOME, Repository, stages_run
from vfer.cli import console
from vfer.data import sample
from vfer.errors import VferError

FAST = {"cnn": {"epochs": 1, "embedding": 8}, "lstm": {"epochs": 2, "units": 4}}
FAST |= {"frames": {"max_bad": 0.5}, "faces": {"max_faceless": 0.5}}
ENDED = 300.0  # most seconds until a process group that was killed has ended
BETWEEN = "DVC's start"


class Pipeline(Repository):
    """The whole pipeline under git and DVC, on 28 rendered clips."""

    def prepare(self) -> None:
        """Render the data and track it."""
        for section, values in FAST.items():
            self.set(section, **values)
        sample.write(self.data, actors=4, recordings=1, seconds=0.6, stills=6, modalities=("02",))
        for words in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "add", "--quiet", "data"]):
            processes.run(words, self.root)

    def repro(self) -> float:  # type: ignore[override]
        """Run the pipeline to its end and return how long that took."""
        start = time.perf_counter()
        processes.run(["dvc", "repro"], self.root)
        return time.perf_counter() - start

    def kill(self, seconds: float) -> str | None:
        """Run the pipeline, kill it and all its stages after some seconds, and return what it was at; None if it ended before."""
        with (self.root / ".dvc" / "tmp" / "output.txt").open("w+") as output:
            process = subprocess.Popen(
                ["dvc", "repro"],
                cwd=self.root,
                env=processes.environment({}),
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(seconds)
                return None
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(ENDED)
            output.seek(0)
            return [BETWEEN, *stages_run(output.read())][-1]

    def outputs(self) -> dict[str, str]:
        """Return the hash of each output that the same inputs give the same bytes of; register's holds ids of MLflow's."""
        stages = yaml.safe_load((self.root / "dvc.lock").read_bytes())["stages"]
        unlike = ("run.json", "register")
        return {
            out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"] if not any(word in out["path"] for word in unlike)
        }

    def clear(self) -> None:
        """Delete all that a run has made, so that the next one begins at the first stage."""
        for name in ("outputs", ".dvc/cache/runs", ".dvc/cache/vfer", ".dvc/tmp/vfer", "mlruns"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for name in ("dvc.lock", "mlflow.db"):
            (self.root / name).unlink(missing_ok=True)


def main(
    kills: Annotated[int, typer.Option(min=1, help="How often to kill it.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 7,
    scratch: Annotated[Path, typer.Option(help="Folder for what is made.")] = HOME / ".bench" / "kills",
) -> None:
    """Compare the outputs of runs that were killed time and again with those of one that was left alone; fail where they differ."""
    moments = random.Random(seed)
    with console.Stage("kills") as stage:
        alone, killed = (Pipeline.new(scratch / name, []) for name in ("alone", "killed"))
        for pipeline in (alone, killed):
            pipeline.prepare()
        took = alone.repro()
        expected = alone.outputs()
        stages: Counter[str] = Counter()
        ends = 0
        while stages.total() < kills:
            if at := killed.kill(moments.uniform(2, max(4.0, took))):
                stages[at] += 1
                console.console.print(f"kill {stages.total()} of {kills}: in {at}")
                continue
            check(killed, expected, stages.total())
            killed.clear()
            ends += 1
        killed.repro()
        check(killed, expected, stages.total())
        hit = ", ".join(f"{stage} {count}" for stage, count in stages.most_common())
        stage.summary = f"{kills} kills ({hit}); {ends + 1} runs ended (one that is left alone takes {took:.0f} s), the outputs are equal"


def check(pipeline: Pipeline, expected: Mapping[str, str], kills: int) -> None:
    """Raise `VferError` where outputs differ from those that are expected."""
    outputs = pipeline.outputs()
    if unlike := [path for path, md5 in expected.items() if outputs.get(path) != md5]:
        raise VferError(f"kills: after {kills}, {', '.join(unlike)} differ from those of a run that was left alone")


if __name__ == "__main__":
    console.run(main)
