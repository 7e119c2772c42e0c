"""Add what a reader found to a normalised dataset: `clips/`, `clips.csv` and `stills.parquet`."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vfer import files
from vfer.data.catalogue import manifest, places, stills
from vfer.data.catalogue.manifest import SAMPLE, Framing
from vfer.data.readers.clips import ClipIntake
from vfer.data.readers.items import FoundStill, Item, Passed, Refused, check_word
from vfer.data.readers.outcome import Outcome, ReadOptions
from vfer.data.readers.pictures import StillIntake
from vfer.errors import DataError, VferError


def intake(
    data: Path, items: Iterable[Item], source: str, own: Sequence[str] = (), framing: Framing = "scene", fps: float | None = None
) -> Outcome:
    """Add every usable one of the items to the dataset in the folder `data`; the other arguments are those of `ReadOptions`.

    Files come first and the tables last, each written atomically, so an interrupted run leaves only files without a row, and the next
    one continues. Where nothing is usable, nothing is changed.
    Raises `DataError` if the folder cannot be written, its tables are broken, or another intake is at work in it.
    """
    options = ReadOptions(source, own, framing, fps)
    for word in (source, *own):
        check_word(word)
    if source == SAMPLE:
        raise DataError(f"--source {SAMPLE} is reserved for the embedded sample; use another name")
    try:
        with _incoming(data) as incoming:
            return _intake(data, incoming, items, options)
    except OSError as error:
        raise DataError(f"{data}: cannot be written ({error.strerror}); fix that and run the same command again") from error


def _intake(data: Path, incoming: Path, items: Iterable[Item], options: ReadOptions) -> Outcome:
    outcome = Outcome()
    clips = ClipIntake(data, incoming, options, outcome)
    stills = StillIntake(data, options, outcome)
    for item in items:
        try:
            if isinstance(item, Refused):
                outcome.refused.append(item)
            elif isinstance(item, Passed):
                outcome.passed.append(item)
            elif isinstance(item, FoundStill):
                stills.take(item)
            else:
                clips.take(item)
        except Exception as error:  # whatever is wrong with one thing, the rest goes on
            if isinstance(error, OSError) and error.errno in files.UNWRITABLE:
                raise
            outcome.refused.append(Refused(item.origin, _reason(error)))
    if outcome.usable:
        stills.commit()
        clips.commit()
    return outcome


def _reason(error: Exception) -> str:
    if isinstance(error, VferError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be read ({type(error).__name__}{f': {error}' if str(error) else ''})"


@contextmanager
def _incoming(data: Path) -> Iterator[Path]:
    is_new = not data.exists()
    data.mkdir(parents=True, exist_ok=True)
    lock = os.open(data, os.O_RDONLY)
    incoming = data / ".incoming"
    try:
        _lock(lock, data)
        for name in (manifest.FILE, places.FILE, stills.FILE):  # of a run that was killed, as a former incoming folder
            files.sweep(data / name)
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            yield incoming
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    finally:
        os.close(lock)
        if is_new:
            with suppress(OSError):  # not empty: something was taken in
                data.rmdir()


def _lock(descriptor: int, data: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"{data}: another `vfer data add` is running there; wait for it to finish") from error
