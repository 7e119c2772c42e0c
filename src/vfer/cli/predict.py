"""`vfer predict`: the expression of each clip."""

import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vfer.cli import console
from vfer.cli.options import DetectEvery, End, Every, Framing, Jobs, ModelName, Start, Videos, framing_of, span, workers
from vfer.errors import VferError

if TYPE_CHECKING:
    from vfer.predict.results import Row

WIDTH = 60  # characters of a clip's name on the screen, at most
OTHERS = 2  # less probable expressions shown


def predict(
    videos: Videos,
    model: ModelName = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Output file: .csv, .json, .jsonl or .parquet.")] = None,
    person_from: Annotated[
        str | None,
        typer.Option(help="Predict relative to each person's other clips, by folder, name (up to the first _) or a CSV column."),
    ] = None,
    framing: Framing = None,
    start: Start = None,
    end: End = None,
    every: Every = None,
    detect_every: DetectEvery = None,
    jobs: Jobs = None,
) -> None:
    """Recognise the expression in each clip, a video of one person and one shot.

    For a model that was trained on feature tables (features.source), the clips are CSV files of the same tool. The exit status is 0 if all
    clips have a prediction, 2 if some have none, and 1 if none has one. Clips that the output table already has, with the same content,
    model and options, are skipped.
    """
    from vfer.data.readers.items import VIDEOS
    from vfer.predict import batch, inputs, together
    from vfer.predict.models import model as models
    from vfer.predict.results import PredictionsFile

    began = time.perf_counter()
    source = models.find(model)
    on_tables = source.settings.tables is not None
    if on_tables and any(value is not None for value in (framing, start, end, every, detect_every)):
        raise VferError("--framing, --start, --end, --every and --detect-every: apply to videos, and this model works on feature tables")
    items = inputs.videos(videos, (".csv",) if on_tables else VIDEOS)
    people = together.persons(items, person_from) if person_from else {}
    options = batch.BatchOptions(span(start, end), every, detect_every, framing_of(framing), keep=bool(people))
    settings = dict.fromkeys((one.clip for one in items), options.digest(source))
    settings |= together.settings(items, people, options.digest(source)) if people else {}
    console.note(f"model: {source.title}")
    header(width := min(WIDTH, max(len(one.clip) for one in items)))
    rows: list[Row] = []
    with PredictionsFile(output, source.title, settings) as table, console.progress_beside() as progress:
        task = progress.add_task("predict", total=len(items))
        earlier = {one.clip: row for one in items if (row := table.earlier(one))}
        whole = {people.get(one.clip) for one in items if not table.tried(one)}  # of a person, all clips are answered again, or none
        earlier = {clip: row for clip, row in earlier.items() if not people or people[clip] not in whole}
        todo = [batch.ClipJob(one.clip, one.path, options) for one in items if one.clip not in earlier]
        todo.sort(key=lambda job: people.get(job.clip, ""))
        answers = batch.answers(source, todo, workers(jobs, len(todo)))
        if people and todo:
            answers = together.together(source, answers, {job.clip: people[job.clip] for job in todo})
        for row in chain(earlier.values(), map(table.add, answers)):
            rows.append(row)
            show(row, width)
            progress.advance(task)
    close(rows, len(earlier), time.perf_counter() - began, source.title, output)


def header(width: int) -> None:
    """Print the head of the table."""
    console.show_line(f"{'clip':{width}}  {'answer':14}  {'next':27}  cover  flags")


def show(row: "Row", width: int) -> None:
    """Print one clip's answer, or why it has none."""
    name = str(row["path"])
    name = name if len(name) <= width else f"…{name[1 - width :]}"
    if row["error"]:
        console.show_line(f"{name:{width}}  {'-':14}  {str(row['error']).removeprefix(str(row['path']) + ': ')}")
        return
    ranked = sorted(((value, column[2:]) for column, value in row.items() if column.startswith("p_") and value is not None), reverse=True)
    best, *others = [f"{expression} {value:.2f}" for value, expression in ranked]
    line = f"{name:{width}}  {best:14}  {', '.join(others[:OTHERS]):27}  {row['coverage']:5.2f}  {row['flags']}"
    console.show_line(line.rstrip())


def close(rows: list["Row"], earlier: int, seconds: float, title: str, output: Path | None) -> None:
    """Print the closing line, and end with status 2 where some clips have no answer, or 1 where none has."""
    predictions = sum(row["expression"] is not None for row in rows)
    frames = sum(int(row["frames"] or 0) for row in rows[earlier:])
    counts = Counter({"answered": predictions, "without an answer": len(rows) - predictions, "known already": earlier})
    counts_text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    where = f" -> {output}" if output else ""
    speed = f", {frames / seconds:.0f} frames/s" if frames else ""
    console.note(f"predict: {counts_text}, by {title} on the CPU in {seconds:.1f} s{speed}{where}")
    if predictions < len(rows):
        raise typer.Exit(2 if predictions else 1)
