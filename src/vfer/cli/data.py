"""`vfer data`: fills the dataset from the public layouts, and shows what it holds."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vfer.cli.console import Stage, console, progress, warn
from vfer.data.catalogue.manifest import Framing
from vfer.data.readers import READERS, Refused, scan
from vfer.errors import DataError, VferError
from vfer.files import write_csv

if TYPE_CHECKING:
    from vfer.data.readers import Entry, Item
    from vfer.data.readers.outcome import Outcome

LINES = 10
USAGES = ("train", "validation", "test")

app = typer.Typer(help="Add data to the dataset, and show it.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="Folder of the dataset.")]


@app.command()
def add(
    reader: Annotated[str, typer.Argument(help=f"Layout of the dataset: {', '.join(READERS)}.")],
    paths: Annotated[list[Path], typer.Argument(help="Folders, zips or files, as they were published.", metavar="PATH...")],
    source: Annotated[str | None, typer.Option(help="Name of the source. Default: the reader's name, or fer2013 for ferplus.")] = None,
    data: Data = Path("data"),
    expressions: Annotated[str, typer.Option(help="Additional expressions, such as drowsy,alert.")] = "",
    framing: Annotated[
        Framing, typer.Option(help="Whether frames show whole scenes or face crops, if the dataset does not say so itself.")
    ] = "scene",
    fps: Annotated[float | None, typer.Option(min=0.1, max=1000, help="Frame rate of sequences of pictures. Default: 10.")] = None,
    no_dvc: Annotated[bool, typer.Option("--no-dvc", help="Do not track the dataset with DVC.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write everything that was refused, with the reason, to this CSV file.")] = None,
) -> None:
    """Add a dataset: copy its clips, convert its stills, and track the result with DVC."""
    from vfer.data.readers import track
    from vfer.data.readers.intake import intake

    if reader not in READERS:
        raise DataError(f"{reader}: unknown reader; expected one of {', '.join(READERS)}")
    with Stage("data add") as stage:
        root = None if no_dvc else track.repository(data)
        if root:
            track.check(data, root)
        track.check_out(data)
        embedded = track.is_sample(data)
        if report is not None and not report.absolute().parent.is_dir():
            raise DataError(f"{report}: the folder {report.parent} does not exist; create it, or choose another")
        words = [word.strip().lower() for word in expressions.split(",") if word.strip()]
        with progress() as bar:
            entries, unreadable = scan(paths)
            items = [*unreadable, *bar.track(_read(reader, entries), description="reading")]
            name = source or READERS[reader].source or reader
            outcome = intake(data, bar.track(items, description="adding"), name, words, framing, fps)
        if report is not None:
            _write_report(report, outcome)
        _check_usable(outcome, reader, paths)
        _print(outcome, data, embedded=embedded)
        _warn(outcome, READERS[reader].warning)
        _say_what_lacks(data)
        version = f"version {track.track(data, root)}" if root else "not tracked by DVC"
        if root:
            _say(f"commit this version with `git add {data}.dvc && git commit`")
        stage.summary = f"{len(outcome.clips)} clips and {len(outcome.stills)} stills in {data} ({version})"


@app.command()
def show(data: Data = Path("data")) -> None:
    """Show the clips and stills of the dataset by source and expression."""
    from vfer.data.readers import track
    from vfer.data.readers.summary import clips_table, size, stills_table

    clips, stills = clips_table(data), stills_table(data)
    if clips is None and stills is None:
        track.check_out(data)
        raise DataError(f"{data}: holds no dataset; fill it with `vfer data add`")
    for table in (clips, stills):
        if table is not None:
            console.print(table)
    console.print(f"{data}: {size(data) / 1e6:.1f} MB, version {track.version(data) or 'not tracked by DVC'}", markup=False)


@app.command("places")
def decide_places(
    data: Data = Path("data"),
    again: Annotated[bool, typer.Option("--again", help="Assign all places again, which changes the split.")] = False,
    no_dvc: Annotated[bool, typer.Option("--no-dvc", help="Do not track the dataset with DVC.")] = False,
) -> None:
    """Assign places in the split to clips that have none; `add` does this for the clips it adds."""
    from vfer.data.catalogue import manifest, places
    from vfer.data.readers import track

    with Stage("data places") as stage:
        track.check_out(data)
        new = places.update(data, manifest.read(data / manifest.FILE), again=again)
        version = "not tracked by DVC" if no_dvc else f"version {track.track(data, track.repository(data))}"
        stage.summary = f"{new} new places in {data / places.FILE} ({version})"


def _read(reader: str, entries: "list[Entry]") -> "Iterator[Item]":
    """Yield what a reader finds; raise `DataError` if it meets a dataset that it cannot make sense of."""
    try:
        yield from READERS[reader].read(entries)
    except VferError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(f"{reader}: cannot read this dataset ({what}), nothing was changed; expected {READERS[reader].layout}") from error


def _warn(outcome: "Outcome", warning: str) -> None:
    if warning and outcome.clips:
        warn(warning)
    if doubtful := outcome.doubtful_subjects:
        names = ", ".join(doubtful[:5]) + (", ..." if len(doubtful) > 5 else "")
        warn(
            f"the subjects {names} look like expressions: each shows only one, so a split by subject would test expressions that are not "
            "in training; name files <subject>_<anything>, or give a manifest"
        )


def _check_usable(outcome: "Outcome", reader: str, paths: list[Path]) -> None:
    if outcome.usable:
        return
    expected = f"expected {READERS[reader].layout}"
    reasons = Counter(item.reason for item in outcome.passed).most_common()
    counts = [f"{len(outcome.refused)} refused"] if outcome.refused else []
    counts += [f"{count} skipped ({reason})" for reason, count in reasons]
    if outcome.refused:
        first = outcome.refused[0]
        raise DataError(f"{first.origin}: {first.reason}; nothing was changed, {', '.join(counts)}; {expected}")
    where = ", ".join(str(path) for path in paths)
    what = f"nothing that {reader} can read, nothing was changed"
    raise DataError(f"{where}: {what}; {expected}; {', '.join(counts) or 'no files'}")


def _print(outcome: "Outcome", data: Path, *, embedded: bool) -> None:
    if outcome.clips or outcome.stills:
        console.print(_additions(outcome))
    if outcome.there:
        _say(f"{outcome.there} already existed" + (f"; {outcome.voted} of them got their votes" if outcome.voted else ""))
    if outcome.converted:
        _say(f"{outcome.converted} stills were not 48x48 and grey, and were converted")
    if voted := sum(still.votes is not None for still in outcome.stills):
        _say(f"{voted} stills have the votes of several annotators")
    for reason, count in sorted(Counter(item.reason for item in outcome.passed).items()):
        _say(f"{count} skipped: {reason}")
    if same := len(outcome.identical_stills):
        _say(f"{same} stills have the same bytes as another still; {outcome.leaked} of validation and test also occur in train")
    _some(
        "added although their bytes are there under another name, whose recording and subject they share",
        [f"{name}: same as {twin}" for name, twin in outcome.identical],
    )
    _some("refused", [f"{item.origin}: {item.reason}" for item in outcome.refused])
    _some("with names that are not UTF-8 were added", [f"{origin}: as {clip}" for origin, clip in outcome.odd])
    if outcome.sample or embedded:
        rows = f" ({outcome.sample} rows)" if outcome.sample else ""
        _say(f"the embedded sample{rows} was replaced; `git checkout {data}.dvc && dvc pull {data}.dvc` restores it")


def _say_what_lacks(data: Path) -> None:
    from vfer.data.catalogue import manifest, stills
    from vfer.data.tables.tool import tool_of

    if not (data / manifest.FILE).exists():
        _say("there are no clips yet: only `dvc repro cnn` can run")
    elif tools := {tool.name for clip in manifest.read(data / manifest.FILE) if (tool := tool_of(clip.path))}:
        _say(f"there are feature tables: set features.source in params.yaml to {' or '.join(sorted(tools))} to use them")
        return
    if not stills.labels(data / stills.FILE).num_rows:
        _say("there are no stills: add some, or set cnn.weights: shipped in params.yaml")


def _additions(outcome: "Outcome") -> Table:
    clips = Counter(clip.expression for clip in outcome.clips)
    stills = Counter((still.expression, still.usage) for still in outcome.stills)
    subjects: dict[str, set[str]] = {}
    rows = [(clip.expression, clip.subject) for clip in outcome.clips] + [
        (still.expression, still.subject or "") for still in outcome.stills
    ]
    for word, subject in rows:
        subjects.setdefault(word, set()).update({subject} - {""})
    table = Table("added", "clips", "subjects", *(f"stills: {usage}" for usage in USAGES))
    for word, who in sorted(subjects.items()):
        table.add_row(word, str(clips[word]), str(len(who)), *(str(stills[word, usage]) for usage in USAGES))
    total = len(set().union(*subjects.values()))
    table.add_section()
    table.add_row("all", str(clips.total()), str(total), *(str(sum(stills[word, usage] for word in subjects)) for usage in USAGES))
    return table


def _some(what: str, lines: list[str]) -> None:
    if lines:
        _say(f"{len(lines)} {what}:")
    for line in lines[:LINES]:
        _say(f"  {line}")
    if len(lines) > LINES:
        _say(f"  and {len(lines) - LINES} more; --report FILE lists them all")


def _say(line: str) -> None:
    console.print(line.replace("\n", "\\n"), markup=False)


def _write_report(path: Path, outcome: "Outcome") -> None:
    same = [Refused(name, f"added, same bytes as {twin}") for name, twin in (*outcome.identical, *outcome.identical_stills)]
    try:
        write_csv(path, ("file", "reason"), [{"file": item.origin, "reason": item.reason} for item in (*outcome.refused, *same)])
    except OSError as error:
        raise DataError(f"{path}: the report cannot be written ({error.strerror})") from error
