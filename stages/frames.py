"""`frames`: decodes each clip and stores its sampled frames."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.store import ClipRunner, Recipe, Store, recipe
from vfer.data.catalogue import manifest
from vfer.data.tables.tool import tool_of
from vfer.errors import ClipError, DataError
from vfer.video import frames
from vfer.video.frames import FramesJob, FramesParams, FramesSummary

CODE = ("vfer.video.frames",)


def main(
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the frames tables, the metrics and the refused clips.")],
) -> None:
    """Write one frames table a clip, the metrics, and the list of clips set aside."""
    section = params.load(config, "frames", FramesParams)
    reason = params.unneeded(config)
    with console.Stage("frames") as stage:
        tables = out / "clips"
        shutil.rmtree(tables, ignore_errors=True)
        if reason:
            files.write_bytes(tables / files.SKIPPED, reason.encode())
            files.Refusals({}).write(out / "refused.csv")
            files.write_json(out / "metrics.json", {"clips": 0, "set_aside": 0, "frames": 0, "notes": {}})
            stage.summary = f"{reason} -> {out}"
            return
        jobs = list_jobs(clips, tables, section)
        runner: ClipRunner[FramesJob] = ClipRunner(
            Store(env.store()), recipe_of(section), env.workers(), log=out / "errors.log", seconds=section.timeout
        )
        tables_of, refusals = run(jobs, runner)
        refusals.write(out / "refused.csv")
        notes = Counter(note for summary in tables_of.values() for note in summary.notes)
        for note, count in sorted(notes.items()):
            console.warn(f"{count} clip{'s' * (count > 1)}: {note}")
        metrics = {"clips": len(tables_of), "set_aside": len(refusals.reasons), "frames": sum(w.frames for w in tables_of.values())}
        files.write_json(out / "metrics.json", metrics | {"notes": dict(sorted(notes.items()))})
        remedy = "fix or remove the clips, or raise frames.max_bad"
        refusals.check(len(jobs), section.max_bad, "frames.max_bad", "were set aside", remedy)
        stage.summary = (
            f"{metrics['clips']} clips{runner.note}, {metrics['frames']} frames, {metrics['set_aside']} clips set aside -> {out}"
        )


def list_jobs(clips: Path, tables: Path, section: FramesParams) -> list[FramesJob]:
    """Return one job per video, sorted by clip.

    Raises:
        DataError: If the manifest lists feature tables alone.
    """
    all_clips = manifest.read(clips)
    videos = [clip for clip in all_clips if not tool_of(clip.path)]
    if tool := tool_of(all_clips[0].path) if not videos else None:
        raise DataError(f"{clips}: lists no videos, only tables of {tool.title}; set features.source: {tool.name}, or add videos")
    return [FramesJob(clip.clip, clips.parent / clip.path, tables / f"{clip.clip}.parquet", clip.framing, section) for clip in videos]


def recipe_of(section: FramesParams) -> Recipe:
    """Return all that decides a clip's frames table, beside the clip."""
    return recipe("frames", section.model_dump(exclude={"max_bad", "timeout"}), CODE)


def run(jobs: list[FramesJob], runner: ClipRunner[FramesJob]) -> tuple[dict[str, FramesSummary], files.Refusals]:
    """Decode the clips; return what was written of each, and why others were refused."""
    summaries: dict[str, FramesSummary] = {}
    reasons: dict[str, str] = {}
    with console.progress() as bar:
        task = bar.add_task("frames", total=len(jobs))
        for job, result in runner.each(frames.write, jobs, frames.summary_of, frames.start):
            if isinstance(result, ClipError):
                reasons[job.clip] = str(result)
            else:
                summaries[job.clip] = result
            bar.advance(task)
    return summaries, files.Refusals(reasons)


if __name__ == "__main__":
    launch(main)
