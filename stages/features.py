"""`features`: runs the cut CNN over every crop and writes the feature cache."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from stages import launch
from vfer import env, features, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.store import Clips, Store, recipe
from vfer.errors import ClipError, DataError
from vfer.features import FeaturesJob, FeaturesParams, Worker
from vfer.nets.session import Session

CODE = ("vfer.features",)


def main(
    faces: Annotated[Path, typer.Option(help="Folder of the faces tables.")],
    model: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the feature cache.")],
) -> None:
    """Write one Parquet file with the embedding of every frame of every clip, sorted by clip."""
    section = params.load(config, "features", FeaturesParams)
    with console.Stage("features") as stage:
        parts = out / "clips"
        shutil.rmtree(parts, ignore_errors=True)
        jobs = list_jobs(faces, parts)
        Session(model)  # one that cannot be loaded is said once, not by every worker
        sha256 = digest(model)
        kept: Clips[FeaturesJob] = Clips(
            Store(env.store(), links=True), recipe("features", {"model": sha256}, CODE), env.workers(), log=out / "errors.log"
        )
        run(jobs, kept, model, section.batch_size)
        sequences = (piece for job in jobs for piece in features.read_part(job.target, job.clip))
        rows = features.write(out / "features.parquet", sequences, {"model_sha256": sha256})
        shutil.rmtree(parts)
        stage.summary = f"{rows} frames of {len(jobs)} clips{kept.note} -> {out / 'features.parquet'}"


def list_jobs(faces: Path, parts: Path) -> list[FeaturesJob]:
    """Return one job a faces table, sorted by clip.

    Raises:
        DataError: If there is none.
    """
    names = sorted(path.relative_to(faces).with_suffix("").as_posix() for path in faces.rglob("*.parquet"))
    if not names:
        raise DataError(f"{faces}: holds no clips' faces; run `dvc repro faces`")
    return [FeaturesJob(name, faces / f"{name}.parquet", parts / f"{name}.arrow") for name in names]


def run(jobs: list[FeaturesJob], kept: Clips[FeaturesJob], model: Path, batch_size: int) -> None:
    """Make the parts of the clips."""
    with console.progress() as bar:
        task = bar.add_task("features", total=len(jobs))
        for _, result in kept.each(Worker.work, jobs, features.rows_in, Worker.start, (model, batch_size)):
            if isinstance(result, ClipError):
                raise result  # a faces table that cannot be read is not a clip's fault
            bar.advance(task)


if __name__ == "__main__":
    launch(main)
