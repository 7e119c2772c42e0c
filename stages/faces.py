"""`faces`: finds, follows and crops one face a clip."""

import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.store import ClipRunner, Recipe, Store, recipe
from vfer.errors import ClipError, DataError
from vfer.faces import table, weights
from vfer.faces.clip import FacesJob, FacesWorker
from vfer.faces.params import FacesParams

CODE = ("vfer.faces.clip", "vfer.faces.weights")


def main(
    frames: Annotated[Path, typer.Option()],
    weights_: Annotated[Path, typer.Option("--weights")],
    params_: ParamsFile,
    out: Annotated[Path, typer.Option()],
) -> None:
    """Read the frames of each clip and write its faces, the metrics and the list of clips without one."""
    with console.Stage("faces") as stage:
        section = params.load(params_, "faces", FacesParams)
        reason = params.unneeded(params_)
        if reason:
            clear(out / "clips")
            files.write_bytes(out / "clips" / files.SKIPPED, reason.encode())
            files.Refusals({}).write(out / "refused.csv")
            files.write_json(out / "metrics.json", summarise({}, {}))
            stage.summary = f"{reason}, into {out}"
            return
        detector = weights.choose(section, weights_)
        detector.check()
        console.console.print(f"faces: detector {detector.name} {detector.sha256[:12]}, since {detector.why}", markup=False)
        jobs = list_jobs(frames, out / "clips")
        clear(out / "clips")
        runner: ClipRunner[FacesJob] = ClipRunner(Store(env.store()), recipe_of(detector, section), env.workers(), log=out / "errors.log")
        counts, refusals = run_jobs(jobs, runner, detector, section)
        metrics = summarise(counts, refusals) | {"detector": detector.name, "detector_sha256": detector.sha256}
        report = files.Refusals(refusals)
        report.write(out / "refused.csv")
        files.write_json(out / "metrics.json", metrics)
        remedy = "fix or remove them, or raise faces.max_faceless or lower faces.score"
        report.check(len(jobs), section.max_faceless, "faces.max_faceless", "show no face or cannot be read", remedy)
        stage.summary = f"{metrics['clips']} clips{runner.note}, {metrics['frames']} frames, coverage {metrics['coverage']:.3f}, into {out}"


def recipe_of(detector: weights.ChosenDetector, section: FacesParams) -> Recipe:
    """Return all that decides a clip's faces table, beside its frames."""
    settings = section.model_dump(exclude={"detector", "max_faceless"})
    return recipe("faces", settings | {"detector": detector.name, "sha256": detector.sha256}, CODE)


def list_jobs(frames: Path, out: Path) -> list[FacesJob]:
    """Return one job a frames table, sorted by clip.

    Raises:
        DataError: If there is none.
    """
    names = sorted(path.relative_to(frames) for path in frames.rglob("*.parquet"))
    if not names:
        raise DataError(f"{frames}: holds no clips' frames; run `dvc repro frames`")
    return [FacesJob(name.with_suffix("").as_posix(), frames / name, out / name) for name in names]


def clear(out: Path) -> None:
    """Delete the faces of an earlier run, whose clips may be no more."""
    if out.exists():
        shutil.rmtree(out)


def run_jobs(
    jobs: list[FacesJob], runner: ClipRunner[FacesJob], detector: weights.ChosenDetector, section: FacesParams
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return each clip's frames by status, and why clips were refused; both sorted by clip."""
    counts, refusals = {}, {}
    initargs = (partial(detector.load, section), section)
    with console.progress() as progress:
        task = progress.add_task("faces", total=len(jobs))
        for job, result in runner.each(FacesWorker.work, jobs, table.counts, FacesWorker.start, initargs):
            if isinstance(result, ClipError):
                refusals[job.clip] = str(result)
            else:
                counts[job.clip] = result
                if result["none"] == sum(result.values()):
                    refusals[job.clip] = f"no face in any of its {result['none']} frames"
            progress.advance(task)
    return dict(sorted(counts.items())), dict(sorted(refusals.items()))


def summarise(counts: dict[str, dict[str, int]], refusals: dict[str, str]) -> dict[str, int | float | str]:
    """Add up the clips' statuses; coverage is the share of frames with a crop."""
    total = Counter({status: sum(clip[status] for clip in counts.values()) for status in table.STATUSES})
    frames = total.total()
    set_aside = sum(clip not in counts for clip in refusals)
    clips = {"clips": len(counts) + set_aside, "faceless": len(refusals) - set_aside, "set_aside": set_aside, "frames": frames}
    return {**clips, **total, "coverage": round(1 - total["none"] / frames, 6) if frames else 0.0}


if __name__ == "__main__":
    launch(main)
