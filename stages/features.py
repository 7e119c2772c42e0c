"""`features`: runs the cut CNN over every crop, or reads the tables of another tool, and writes the feature cache."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.store import ClipRunner, Store, recipe
from vfer.data.tables import work
from vfer.data.tables.params import FeaturesParams
from vfer.data.tables.reading import Reading
from vfer.data.tables.tool import TOOLS
from vfer.data.tables.work import Counts, TableJob
from vfer.errors import ClipError, DataError
from vfer.faces import table
from vfer.features import cache
from vfer.features.embed import FeaturesJob, FeaturesWorker
from vfer.nets.session import Session

CODE = ("vfer.features.embed",)
TABLES = ("vfer.data.tables.work",)


def main(
    faces: Annotated[Path, typer.Option(help="Folder of the faces tables.")],
    model: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")],
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the feature cache, the metrics and the clips set aside.")],
) -> None:
    """Write one Parquet file with the features of every frame of every clip, sorted by clip."""
    section = params.load(config, "features", FeaturesParams)
    with console.Stage("features") as stage:
        parts = out / "clips"
        shutil.rmtree(parts, ignore_errors=True)
        try:
            summary = embed(faces, model, section, out, parts) if section.source == "cnn" else read_tables(clips, section, out, parts)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        stage.summary = f"{summary} -> {out / 'features.parquet'}"


def embed(faces: Path, model: Path, section: FeaturesParams, out: Path, parts: Path) -> str:
    """Run the CNN over the crops, write the outputs, and return what was made."""
    jobs = list_jobs(faces, parts)
    Session(model)  # a model that cannot be loaded is reported once, not by every worker
    sha256 = digest(model)
    runner: ClipRunner[FeaturesJob] = ClipRunner(
        Store(env.store(), links=True), recipe("features", {"model": sha256}, CODE), env.workers(), log=out / "errors.log"
    )
    run(jobs, runner, model)
    rows = write(jobs, out, {"model_sha256": sha256})
    files.Refusals({}).write(out / "refused.csv")
    files.write_json(out / "metrics.json", {"source": section.source, "clips": len(jobs), "set_aside": 0, "frames": rows})
    return f"{rows} frames of {len(jobs)} clips{runner.note}"


def list_jobs(faces: Path, parts: Path) -> list[FeaturesJob]:
    """Return one job a faces table, sorted by clip.

    Raises:
        DataError: If there is none.
    """
    names = table.clips(faces)
    if not names:
        raise DataError(f"{faces}: holds no clips' faces; run `dvc repro faces`")
    return [FeaturesJob(name, faces / f"{name}.parquet", parts / f"{name}.arrow") for name in names]


def run(jobs: list[FeaturesJob], runner: ClipRunner[FeaturesJob], model: Path) -> None:
    """Make the parts of the clips."""
    with console.progress() as bar:
        task = bar.add_task("features", total=len(jobs))
        for _, result in runner.each(FeaturesWorker.work, jobs, cache.rows_in, FeaturesWorker.start, (model,)):
            if isinstance(result, ClipError):
                raise result  # a faces table that cannot be read is not a clip's fault
            bar.advance(task)


def write(jobs: Iterable[FeaturesJob | TableJob], out: Path, about: dict[str, str]) -> int:
    """Join the parts of the clips to the cache, and return its rows."""
    return cache.write(out / "features.parquet", (piece for job in jobs for piece in cache.read_part(job.target, job.clip)), about)


def read_tables(clips: Path, section: FeaturesParams, out: Path, parts: Path) -> str:
    """Read the tables of another tool, write the outputs, and return what was made; tables that cannot be used are set aside."""
    tool = TOOLS[section.source]
    tables = work.tables_of(clips, tool.name)
    how = Reading.of(section, work.common_units(tables.values(), tool, env.workers()))
    jobs = [TableJob(clip, path, parts / f"{clip}.arrow", how) for clip, path in tables.items()]
    runner: ClipRunner[TableJob] = ClipRunner(
        Store(env.store(), links=True), recipe("tables", how.model_dump(), TABLES), env.workers(), log=out / "errors.log"
    )
    counts, refusals = run_tables(jobs, runner)
    frames, shown = (sum(getattr(one, name) for one in counts.values()) for name in ("frames", "shown"))
    metrics = {"source": tool.name, "clips": len(counts), "set_aside": len(tables) - len(counts), "frames": frames}
    coverage = round(shown / frames, 6) if frames else 0.0
    refusals.write(out / "refused.csv")
    files.write_json(out / "metrics.json", metrics | {"faceless": sum(not one.shown for one in counts.values()), "coverage": coverage})
    remedy = "fix or remove them, or raise features.max_bad"
    refusals.check(len(tables), section.max_bad, "features.max_bad", "show no face or cannot be read", remedy)
    if not shown:
        raise DataError(f"{out / 'refused.csv'}: no table of {tool.title} shows a face; fix the tables, or lower features.confidence")
    write([job for job in jobs if job.clip in counts], out, {"source": tool.name, "reading": how.model_dump_json()})
    return f"{frames} frames of {len(counts)} clips by {tool.title}, {len(how.units)} action units, coverage {coverage:.3f}{runner.note}"


def run_tables(jobs: list[TableJob], runner: ClipRunner[TableJob]) -> tuple[dict[str, Counts], files.Refusals]:
    """Make the parts of the clips; return the counts of each, and why others, or faceless ones, were refused."""
    counts: dict[str, Counts] = {}
    reasons: dict[str, str] = {}
    with console.progress() as bar:
        task = bar.add_task("features", total=len(jobs))
        for job, result in runner.each(work.work, jobs, work.counts_of):
            if isinstance(result, ClipError):
                reasons[job.clip] = str(result)
            else:
                counts[job.clip] = result
                if not result.shown:
                    reasons[job.clip] = f"no face in any of its {result.frames} frames"
            bar.advance(task)
    return dict(sorted(counts.items())), files.Refusals(reasons)


if __name__ == "__main__":
    launch(main)
