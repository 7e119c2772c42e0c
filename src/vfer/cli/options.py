"""Options that several commands share."""

import re
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from vfer.errors import VferError

if TYPE_CHECKING:
    from vfer.predict.source import Span

Videos = Annotated[list[str], typer.Argument(help="Videos, folders, glob patterns, or CSV files with a column path.", metavar="VIDEO")]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="models:/NAME@ALIAS, models:/NAME/VERSION, a model folder, or shipped. Default: the champion."),
]
Framing = Annotated[str | None, typer.Option(help="scene, or face if each frame is a face crop. Default: as in training.")]
Start = Annotated[str | None, typer.Option(help="Start time: seconds, M:S or H:M:S.")]
End = Annotated[str | None, typer.Option(help="End time.")]
Every = Annotated[int | None, typer.Option(min=1, help="Analyse every Nth frame. Default: the frame rate of the training.")]
DetectEvery = Annotated[
    int | None, typer.Option(min=1, max=60, help="Run the detector on every Nth of these frames. Default: as in training.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Number of processes. Default: VFER_WORKERS, or one per core.")]


def seconds(text: str, option: str) -> float:
    """Return a time given as seconds, M:S or H:M:S.

    Raises:
        VferError: For anything else.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise VferError(f"{option} {text}: is not a time; give seconds, M:S or H:M:S, as in 90, 1:30 or 0:01:30.5")
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


def span(start: str | None, end: str | None) -> "Span":
    """Return the part of a video between two times.

    Raises:
        VferError: If it is empty.
    """
    from vfer.predict.source import Span

    first, last = seconds(start or "0", "--start"), seconds(end, "--end") if end else None
    if last is not None and last <= first:
        raise VferError(f"--end {end}: is not after --start {start or 0}")
    return Span(first, last)


def framing_of(value: str | None) -> 'Literal["scene", "face"] | None':
    """Return a framing.

    Raises:
        VferError: For anything else.
    """
    if value not in (None, "scene", "face"):
        raise VferError(f"--framing {value}: is unknown; expected scene or face")
    return cast('Literal["scene", "face"] | None', value)


def workers(jobs: int | None, count: int) -> int:
    """Return how many processes work on `count` videos."""
    from vfer import env

    return max(1, min(jobs or env.workers(), count))
