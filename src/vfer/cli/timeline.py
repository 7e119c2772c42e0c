"""`vfer timeline`: the expressions of everybody in a video over time."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vfer.cli import console
from vfer.cli.options import DetectEvery, End, Every, Framing, Jobs, ModelName, Start, Videos, framing_of, seconds, span, workers
from vfer.errors import VferError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfer.predict.baselines import BaselineSource
    from vfer.predict.timeline.films import FilmSummary

ALL = "csv,parquet,segments,eaf,textgrid,srt,vtt,labelstudio,html,provenance"


def timeline(
    videos: Videos,
    model: ModelName = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the files, or a single file whose suffix is its format.")
    ] = None,
    formats: Annotated[str, typer.Option(help="Formats to write to the folder.")] = ALL,
    people: Annotated[Path | None, typer.Option(help="A people.csv with names. Default: the one in the output folder.")] = None,
    recognise: Annotated[bool, typer.Option("--recognise", help="Recognise people when they reappear, also in other shots.")] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Predict relative to each person's baseline: footage, START-END of a neutral part, or a neutral [NAME=]FILE."),
    ] = None,
    annotate: Annotated[Path | None, typer.Option(help="Write an MP4 with boxes, names and curves; a folder for several videos.")] = None,
    blur: Annotated[list[str] | None, typer.Option(help="Faces to blur in it: all, others (ignored in people.csv), or a NAME.")] = None,
    pictures: Annotated[bool, typer.Option(help="Include small pictures of faces in the report.")] = True,
    framing: Framing = None,
    start: Start = None,
    end: End = None,
    every: Every = None,
    detect_every: DetectEvery = None,
    jobs: Jobs = None,
) -> None:
    """Track everybody in a video and write their expressions over time.

    The exit status is 0 if all videos could be analysed, 2 if some could not, and 1 if none could.
    """
    from vfer.predict import formats as kinds
    from vfer.predict import inputs
    from vfer.predict.locks import locked
    from vfer.predict.models import model as models
    from vfer.predict.timeline import films, narrate
    from vfer.predict.timeline import people as persons

    began = time.perf_counter()
    items = inputs.videos(videos)
    entries = persons.read(people) if people else []
    how = narrate.TimelineOptions(span(start, end), framing_of(framing), entries, recognise, pictures, baseline_of(baseline or []))
    if blur and not annotate:
        raise VferError("--blur: says whose faces are blurred in the film that --annotate writes; give that too")
    targets = films.outputs(items, output, kinds.by_names(formats), annotate, blur or ())
    source = models.find(model)
    if source.settings.tables:
        raise VferError(f"{source.title}: works on feature tables, not on videos; use `vfer predict` with CSV files, or --model shipped")
    console.note(f"model: {source.title}")
    todo = [films.FilmJob(one.clip, one.path, how, every, detect_every, target) for one, target in zip(items, targets, strict=True)]
    summaries: list[FilmSummary] = []
    with ExitStack() as stack:
        if output:
            stack.enter_context(locked(output))
        progress = stack.enter_context(console.progress_beside())
        task = progress.add_task("timeline", total=len(todo))
        for one in films.timelines(
            source, todo, workers(jobs, len(todo)), lambda at: progress.update(task, description=f"timeline {at:.0f} s")
        ):
            summaries.append(one)
            show(one)
            progress.advance(task)
    close(summaries, time.perf_counter() - began, source.title, output)


def baseline_of(values: "Sequence[str]") -> "BaselineSource | None":
    """Return where baselines come from.

    Raises:
        VferError: If the values make no sense together.
    """
    from vfer.predict.baselines import FOOTAGE, BaselineSource
    from vfer.predict.source import Span

    if not values:
        return None
    if values == [FOOTAGE]:
        return BaselineSource()
    first, dash, last = values[0].partition("-")
    if len(values) == 1 and dash and first[:1].isdigit() and last[:1].isdigit() and not Path(values[0]).exists():
        stretch = Span(seconds(first, "--baseline"), seconds(last, "--baseline"))
        if stretch.end is not None and stretch.end <= stretch.start:
            raise VferError(f"--baseline {values[0]}: ends before it begins")
        return BaselineSource(stretch)
    pairs = [("", value) if Path(value).exists() else tuple(value.rpartition("=")[::2]) for value in values]
    absent = next((path for _, path in pairs if not Path(path).is_file()), None)
    if absent is not None:
        raise VferError(f"--baseline {absent}: is not a file; give footage, START-END, or a neutral video or picture")
    return BaselineSource(files={name: Path(path) for name, path in pairs})


def show(summary: "FilmSummary") -> None:
    """Print what one video shows."""
    from vfer.evaluate.pages import clock

    if summary.error:
        console.show_line(f"{summary.clip}: {summary.error.removeprefix(summary.clip + ': ')}")
        return
    if summary.unchanged:
        console.show_line(f"{summary.clip}: its files are there already, from the same content, people, model and settings")
        return
    counts = [(summary.people, "person", "people"), (summary.shots, "shot", "shots")]
    told_counts = ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts)
    console.show_line(f"{summary.clip}: {told_counts}, {clock(summary.seconds)}")
    width = max([6, *(len(one.person) for one in summary.segments)])
    for one in summary.segments:
        times = f"{clock(one.start):>9} {clock(one.end):>9}"
        line = f"  {times}  {one.person:{width}}  {one.answer:10}  {one.confidence:4.2f}  {', '.join(one.flags)}"
        console.show_line(line.rstrip())


def close(summaries: "list[FilmSummary]", took: float, title: str, output: Path | None) -> None:
    """Print the closing line, and end with status 2 where some videos could not be looked at, or 1 where none could."""
    failed = sum(one.error is not None for one in summaries)
    frames, unchanged = sum(one.frames for one in summaries), sum(one.unchanged for one in summaries)
    counts = {"done": len(summaries) - failed - unchanged, "there already": unchanged, "failed": failed}
    counts_text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    where = f" -> {output}" if output else "; --output FOLDER writes the files"
    console.note(f"timeline: {counts_text}, by {title} on the CPU in {took:.1f} s, {frames / took:.0f} frames/s{where}")
    if failed:
        raise typer.Exit(2 if failed < len(summaries) else 1)
