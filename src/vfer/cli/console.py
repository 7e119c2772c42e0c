"""What commands and stages print: errors, progress bars, and the closing line of a stage."""

import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from vfer.errors import VferError
from vfer.files import FULL, UNWRITABLE

SECONDS_BETWEEN_LINES = 15


class PlainConsole(Console):
    """A console that shows control characters and bytes that are no text, as names of files hold them, as escapes."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        super().print(*(plain(item) if isinstance(item, str) else item for item in objects), **options)


def plain(text: str) -> str:
    """Return a text whose control characters, but for ends of lines, and bytes that are no text are escapes."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode() for letter in text)


console = PlainConsole(highlight=False, soft_wrap=True, markup=False, emoji=False)
errors = PlainConsole(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def use_utf8() -> None:
    """Begin this process again in Python's UTF-8 mode where the locale has another encoding, in which not every file can be named.

    The names in `clips.csv` and in DVC's cache are UTF-8 on every machine.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def begin() -> None:
    """Prepare what a command prints: a terminal that lacks a letter shows an escape, and the library's warnings appear."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    show_log()


def run(main: Callable[..., Any]) -> None:
    """Run a command with its arguments; an error that the user can fix becomes one line and exit status 1."""
    begin()
    try:
        typer.run(main)
    except VferError as error:
        fail(error)
    except OSError as error:
        fail_if_unwritable(error)


def fail_if_unwritable(error: OSError) -> NoReturn:
    """End with one line where a disk is full, or where files may not be read or written; raise the error again where it is another one."""
    if error.errno not in (*UNWRITABLE, errno.EACCES, errno.EPERM):
        raise error
    name, remedy = error.filename or "a file", "run again: finished work is kept"
    if error.errno in FULL:
        fail(VferError(f"{name}: the disk, or your quota of it, is full; free some space and {remedy}"))
    fail(VferError(f"{name}: {(error.strerror or 'no access').lower()}; allow reading and writing it, and {remedy}"))


def fail(error: VferError) -> NoReturn:
    """Print the error as one line on standard error and exit with status 1."""
    errors.print(f"error: {_line(str(error))}", style="red", markup=False)
    sys.exit(1)


class RateColumn(ProgressColumn):
    """How much of a task is done a second."""

    def render(self, task: Task) -> Text:
        """Return the rate as text; nothing before the first steps."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


def progress() -> Progress:
    """Return a progress bar with count, rate, elapsed and remaining time; it stays silent where there is no terminal."""
    return Progress(*_columns(), console=console, disable=not console.is_terminal)


@contextmanager
def epochs(name: str, total: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Show the epochs of a training as a progress bar, or as a line every 15 seconds where there is no terminal."""
    with progress() as bar:
        task = bar.add_task(name, total=total)
        last = time.monotonic()

        def show(epoch: int, figures: Mapping[str, float]) -> None:
            nonlocal last
            line = " ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
            bar.update(task, completed=epoch + 1, description=f"{name} {line}")
            if not console.is_terminal and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                console.print(f"{name}: epoch {epoch + 1} of {total}: {line}")

        yield show


def progress_beside() -> Progress:
    """Return a progress bar on standard error, for commands whose results go to standard output."""
    # Where both go to one terminal, the lines of results are printed above the bar.
    return Progress(*_columns(), console=errors, disable=not errors.is_terminal, transient=True, redirect_stdout=console.is_terminal)


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeElapsedColumn(), TimeRemainingColumn()


def note(message: str) -> None:
    """Print a line beside the results, on standard error."""
    errors.print(message, markup=False)


def warn(message: str) -> None:
    """Print a warning of one line."""
    console.print(f"warning: {_line(message)}", style="yellow", markup=False)


def _line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")


def show_line(text: str) -> None:
    """Print one line of results; ends of lines in names of files appear as escapes."""
    console.print(_line(text), markup=False)


class _Warnings(logging.Handler):
    """Prints the library's warnings, a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        warn(record.getMessage())


def show_log() -> None:
    """Let the library's warnings appear on the console; a program that imports vfer decides on its own where they go."""
    log = logging.getLogger("vfer")
    if not any(isinstance(handler, _Warnings) for handler in log.handlers):
        log.addHandler(_Warnings(logging.WARNING))


@contextmanager
def hushed() -> Iterator[None]:
    """Keep what native code prints while TensorFlow is imported off the standard error; Python's exceptions still come through."""
    sys.stderr.flush()
    original = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(original, 2)
        os.close(original)


class Stage:
    """Times a stage and prints its closing line: what was made, where, and how long it took."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.summary = ""

    def __enter__(self) -> "Stage":
        self.start = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            console.print(f"{self.name}: {self.summary} in {time.perf_counter() - self.start:.1f} s", markup=False)
