"""Make the timelines of many videos, and write their files; one that cannot be used does not stop the others."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from vfer.clips import executor
from vfer.clips.attempt import attempt
from vfer.clips.digests import digest
from vfer.errors import ClipError, DataError
from vfer.files import shortened, sweep
from vfer.predict import source
from vfer.predict.formats import FORMATS, Format, of
from vfer.predict.inputs import Input, printable
from vfer.predict.models.model import Model
from vfer.predict.recogniser import Recogniser
from vfer.predict.render import annotate
from vfer.predict.timeline import narrate, people
from vfer.predict.timeline.narrate import TimelineOptions
from vfer.predict.timeline.segments import Segment
from vfer.predict.timeline.timeline import Timeline
from vfer.video.container import check_file

PEOPLE = ".people.csv"


@dataclass(frozen=True)
class Outputs:
    """The files of one video: each format's path, the list of people, which is also read where it is there, and the annotated film."""

    files: Mapping[str, Path] = field(default_factory=dict)
    people: Path | None = None
    film: Path | None = None
    blurred: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilmJob:
    """One video to be looked at."""

    clip: str
    path: Path
    how: TimelineOptions
    every: int | None
    detect_every: int | None
    outputs: Outputs


@dataclass(frozen=True)
class FilmSummary:
    """What a video shows, in short; `unchanged` if an earlier run wrote it; `error` says why there is nothing."""

    clip: str
    segments: Sequence[Segment] = ()
    people: int = 0
    shots: int = 0
    seconds: float = 0.0
    frames: int = 0
    unchanged: bool = False
    error: str | None = None


def outputs(
    inputs: Sequence[Input], target: Path | None, formats: Mapping[str, Format], film: Path | None = None, blurred: Sequence[str] = ()
) -> list[Outputs]:
    """Return where the files of each video go.

    Args:
        inputs: The videos.
        target: A folder, or, for one video, a file whose name says its format; None for no files.
        formats: What is written into a folder.
        film: The annotated film, or, for several videos, a folder for them; None for none.
        blurred: Whose faces are blurred in it.

    Raises:
        DataError: A target is a file and there are several videos, or a file would take the place of a video.
    """
    single = None if target is None or target.is_dir() else of(target)
    if target and target.is_file() and not single:
        raise DataError(f"{target}: is a file whose name ends as no format does; give a folder, or another name")
    _check_single(inputs, target if single else None, film if film and film.suffix.lower() == ".mp4" else None)
    all_outputs = []
    for stem in _stems(inputs):
        files, people = {}, None
        if target and single:
            files = {name: target for name, one in FORMATS.items() if one == single}
        elif target:
            files, people = {name: target / f"{stem}{one.ending}" for name, one in formats.items()}, target / f"{stem}{PEOPLE}"
        film_path = film if not film or film.suffix.lower() == ".mp4" else film / f"{stem}.annotated.mp4"
        all_outputs.append(Outputs(files, people, film_path, tuple(blurred)))
    videos = {_file(one.path) for one in inputs}
    for path in (path for one in all_outputs for path in (*one.files.values(), one.film) if path):
        if _file(path) in videos:
            raise DataError(f"{path}: is a video that is read; give another name")
    for path in (one.film for one in all_outputs if one.film):
        if path.exists() and path.stat().st_size and not annotate.annotated(path):
            raise DataError(f"{path}: is a film that vfer did not write; move it away, or give another name")
    return all_outputs


def _file(path: Path) -> tuple[int, int] | Path:
    """Return what identifies a file, also under other names and links; its path where it does not exist."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return path.absolute()
    return state.st_dev, state.st_ino


def _check_single(inputs: Sequence[Input], *files: Path | None) -> None:
    for path in files:
        if path and len(inputs) > 1:
            raise DataError(f"{path}: is one file, and there are {len(inputs)} videos; give a folder")


def _stems(inputs: Sequence[Input]) -> list[str]:
    """Return a name for the files of each video: its own, after those of its folders where several have the same."""
    paths = [one.path.absolute().with_suffix("").parts for one in inputs]
    depth = dict.fromkeys(paths, 1)
    while True:
        counts = Counter(path[-deep:] for path, deep in depth.items())
        longer = {path: min(deep + (counts[path[-deep:]] > 1), len(path)) for path, deep in depth.items()}
        if longer == depth:
            break
        depth = longer
    endings = Counter(paths)  # where only the endings differ, they stay
    return [
        shortened(printable("-".join(part.strip("/") for part in path[-depth[path] :]))) + (one.path.suffix if endings[path] > 1 else "")
        for path, one in zip(paths, inputs, strict=True)
    ]


def timelines(model: Model, jobs: Sequence[FilmJob], workers: int, advance: Callable[[float], None]) -> Iterator[FilmSummary]:
    """Yield what each video shows, in the order in which they are ready; `advance` hears how far one is, where it is the only one."""
    results: Iterator[tuple[FilmJob, FilmSummary | ClipError]]
    if workers == 1 or len(jobs) == 1:
        _start(model)
        results = ((job, attempt(partial(_tell, advance=advance), job)) for job in jobs)
    else:
        results = executor.each_clip(_tell, jobs, workers=workers, initializer=_start, initargs=(model,))
    for job, result in results:
        yield FilmSummary(job.clip, error=str(result)) if isinstance(result, ClipError) else result


_recogniser: Recogniser  # of this process


def _start(model: Model) -> None:
    import cv2

    global _recogniser
    cv2.setNumThreads(1)  # videos run side by side, and so do decoding and detection
    _recogniser = Recogniser.open(model)


def _tell(job: FilmJob, advance: Callable[[float], None] = lambda _: None) -> FilmSummary:
    check_file(job.path)
    recogniser = _recogniser.with_rates(fps=source.fps(job.path, job.every), detect_every=job.detect_every)
    if is_current(job, narrate.provenance(recogniser, job.path, job.how)):
        return FilmSummary(job.clip, unchanged=True)
    list_path = job.outputs.people
    try:
        entries = people.read(list_path) if list_path and list_path.exists() else []
    except DataError as error:
        raise ClipError(str(error)) from error
    timeline = recogniser.timeline(job.path, replace(job.how, entries=[*job.how.entries, *entries]), advance)
    write(timeline, job.outputs)
    if job.outputs.film:
        job.outputs.film.parent.mkdir(parents=True, exist_ok=True)
        annotate.write(timeline, job.outputs.film, job.outputs.blurred, job.how.span, advance)
    everybody = len({one.name for one in timeline.people if not one.ignore})
    segments = [replace(one, picture=None) for one in timeline.segments]
    return FilmSummary(job.clip, segments, everybody, len(timeline.shots), timeline.seconds, timeline.decoded)


def write(timeline: Timeline, outputs: Outputs) -> None:
    """Write a timeline's files, the list of people first, whose hash the provenance holds."""
    if outputs.people:
        people.write(outputs.people, timeline.people, timeline.unseen)
        timeline.provenance["people_sha256"] = digest(outputs.people)
    for name, path in outputs.files.items():
        sweep(path)
        FORMATS[name].write(path, timeline)


def is_current(job: FilmJob, provenance: Mapping[str, Any]) -> bool:
    """Return whether an earlier run wrote all files of a video, from the same content, people, model and settings."""
    provenance_path, list_path = job.outputs.files.get("provenance"), job.outputs.people
    if (
        job.how.entries
        or job.outputs.film
        or provenance_path is None
        or list_path is None
        or not all(path.exists() for path in (list_path, *job.outputs.files.values()))
    ):
        return False
    try:
        before = json.loads(provenance_path.read_text(encoding="utf-8"))
        return bool(before.pop("people_sha256", "") == digest(list_path) and before == json.loads(json.dumps(provenance)))
    except (OSError, ValueError, AttributeError):
        return False
