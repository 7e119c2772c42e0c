"""`motion`: reads how each face moves out of what the clips' codec left in their files."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.store import ClipRunner, Store, recipe
from vfer.compare import motion
from vfer.compare.motion import MotionJob
from vfer.data.catalogue import manifest
from vfer.errors import ClipError, DataError
from vfer.faces.params import FacesParams

CODE = ("vfer.compare.motion",)


def main(
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    faces: Annotated[Path, typer.Option(help="Folder of the clips' faces.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the tables of motion.")],
) -> None:
    """Write one table per clip that has faces."""
    margin = params.load(config, "faces", FacesParams).margin
    reason = params.unneeded(config)
    with console.Stage("motion") as stage:
        shutil.rmtree(out, ignore_errors=True)
        if reason:
            files.write_bytes(out / files.SKIPPED, reason.encode())
            stage.summary = f"{reason} -> {out}"
            return
        jobs = list_jobs(clips, faces, margin, out)
        runner: ClipRunner[MotionJob] = ClipRunner(
            Store(env.store()), recipe("motion", {"margin": margin}, CODE), env.workers(), log=out.with_name("motion-errors.log")
        )
        silent = run(jobs, runner)
        if silent:
            console.warn(f"the codec of {silent} of {len(jobs)} clips tells no motion; H.264 and MPEG-4 do")
        stage.summary = f"{len(jobs)} clips{runner.note} -> {out}"


def list_jobs(clips: Path, faces: Path, margin: float, out: Path) -> list[MotionJob]:
    """Return one job per clip whose faces are there.

    Raises:
        DataError: If there is none.
    """
    jobs = []
    for clip in manifest.read(clips):
        table_path = faces / f"{clip.clip}.parquet"
        if table_path.is_file():
            jobs.append(
                MotionJob(clip.clip, clips.parent / clip.path, out / f"{clip.clip}.parquet", table_path, margin, digest(table_path))
            )
    if not jobs:
        raise DataError(f"{faces}: holds no faces of the clips in {clips}; run `dvc repro faces`")
    return jobs


def run(jobs: list[MotionJob], runner: ClipRunner[MotionJob]) -> int:
    """Make the tables; return of how many clips the codec tells nothing."""
    silent = 0
    with console.progress() as bar:
        task = bar.add_task("motion", total=len(jobs))
        for job, result in runner.each(motion.write, jobs, motion.has_motion):
            if isinstance(result, ClipError):
                console.warn(f"{result}; its motion is taken for none")
                motion.write_none(job)
            silent += isinstance(result, ClipError) or not result
            bar.advance(task)
    return silent


if __name__ == "__main__":
    launch(main)
