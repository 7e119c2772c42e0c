"""Read the feature table of one clip: its action units by name, and the time of each frame."""

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vfer.data.tables.reading import Reading
from vfer.data.tables.text import lines
from vfer.data.tables.tool import TOOLS, Tool
from vfer.errors import ClipError, DataError
from vfer.features import cache

DELIMITERS = (",", ";", "\t", "|")
EMPTY = frozenset({"", "nan", "-nan", "na", "n/a", "null", "none", "nan(ind)", "-nan(ind)", "1.#qnan", "-1.#ind"})
"""Cells without a number, as tools and spreadsheets write them."""
MOST = 1e6
"""The magnitude of an action unit beyond which a number is an error."""
MAX_ROWS = 500_000
"""Rows of a table: more than four hours at 30 frames per second."""
FRAME = "frame"


@dataclass(frozen=True)
class _TableColumns:
    """The columns of a table, by their names in small letters, the names as they are written, the delimiter, and the header's line."""

    places: dict[str, int]
    names: list[str]
    delimiter: str
    units: list[str]
    line: int


def units(path: Path, tool: Tool) -> list[str]:
    """Return the names of a table's action units, in small letters, sorted.

    Raises:
        ClipError: If it is not a table of that tool, or has no row.
    """
    with _opened(path) as text:
        head = _head(text, tool)
        if not any(any(cell.strip() for cell in cells) for cells in csv.reader(text, delimiter=head.delimiter)):
            raise ClipError("holds no rows; run the tool again on its video")
        return head.units


def read(path: Path, clip: str, how: Reading) -> cache.Sequence:
    """Read the table of a clip.

    Rows without success, enough confidence or a value in each action unit are frames without a face; they keep their time.

    Args:
        path: The table.
        clip: Name of the clip.
        how: How to read it.

    Returns:
        Its frames; `probabilities`, which other tools do not have, is a column of zeros.

    Raises:
        ClipError: If it is not a table of the tool, lacks one of the action units, or has a row that cannot be right.
    """
    tool = TOOLS[how.tool]
    with _opened(path) as text:
        head = _head(text, tool)
        if absent := [unit for unit in how.units if unit not in head.places]:
            raise ClipError(f"has no column {_upper(absent[0])}, which the other tables have; run {tool.title} again, or remove the clip")
        rows = _Rows(head, tool, how)
        for line, cells in _cells(text, head):
            rows.add(line, cells)
        return rows.sequence(clip)


class _Rows:
    """The rows of a table, checked one by one."""

    def __init__(self, head: _TableColumns, tool: Tool, how: Reading) -> None:
        self._how, self._tool, self._head = how, tool, head
        self._units = [head.places[unit] for unit in how.units]
        self._frame, self._time = head.places.get(FRAME), head.places.get(tool.time)
        self._success, self._confidence = head.places.get(tool.success), head.places.get(tool.confidence)
        self._frames, self._times, self._values, self._shown = array("q"), array("d"), array("f"), array("b")
        self._step = 0

    def add(self, line: int, cells: list[str]) -> None:
        """Add the row of a line; raise `ClipError` if it cannot be right."""
        if len(self._frames) == MAX_ROWS:
            raise ClipError(f"has more than {MAX_ROWS} rows; split it into shorter clips")
        frame = self._number_of_frame(line, cells)
        time = self._seconds(line, cells, frame)
        values = [self._number(cells, place, line) for place in self._units]
        success, confidence = (1.0 if at is None else self._number(cells, at, line) for at in (self._success, self._confidence))
        shown = success > 0 and confidence >= self._how.confidence and not any(map(math.isnan, values))  # false for NaN
        for value, place in zip(values, self._units, strict=True):
            if abs(value) > MOST:
                raise ClipError(f"line {line}: {self._head.names[place]} is {value:g}, which is no action unit; correct the cell")
        self._frames.append(frame)
        self._times.append(time)
        self._values.extend(values)
        self._shown.append(shown)

    def sequence(self, clip: str) -> cache.Sequence:
        """Return the frames; raise `ClipError` if there are none."""
        if not self._frames:
            raise ClipError("holds no rows; run the tool again on its video")
        shown: NDArray[np.bool_] = np.array(self._shown, bool)
        values = np.array(self._values, np.float32).reshape(len(shown), -1)
        values[~shown] = 0
        status = np.where(shown, "detected", "none")
        frames = np.array(self._frames, np.int32)
        return cache.Sequence(clip, frames, np.array(self._times), status, values, np.zeros((len(shown), 1), np.float32))

    def _number_of_frame(self, line: int, cells: list[str]) -> int:
        if self._frame is None:
            return len(self._frames)
        value = self._number(cells, self._frame, line)
        if not (0 <= value < 2**31 and value == int(value)):
            raise ClipError(f"line {line}: {FRAME} is {cells[self._frame].strip()[:40]!r}, not a whole number; correct the cell")
        frame = int(value)
        if self._frames:
            self._check_step(line, frame)
        return frame

    def _check_step(self, line: int, frame: int) -> None:
        before = self._frames[-1]
        step = frame - before
        if step == 0:
            raise ClipError(f"line {line}: frame {frame} appears twice; keep one row per frame, or let {self._tool.title} follow one face")
        if step < 0:
            raise ClipError(f"line {line}: frame {frame} comes after frame {before}; sort the rows by frame")
        self._step = self._step or step
        if step > self._step:
            raise ClipError(f"line {line}: no row between frames {before} and {frame}; run {self._tool.title} again on the whole video")
        if step < self._step:
            first = self._frames[0]
            raise ClipError(
                f"line {line}: frames {before} and {frame} are {step} apart, those from frame {first} on {self._step}; "
                f"run {self._tool.title} again on the whole video"
            )

    def _seconds(self, line: int, cells: list[str], frame: int) -> float:
        if self._time is None:
            return (frame - (self._frames[0] if self._frames else frame)) / self._how.fps
        name, value = self._head.names[self._time], self._number(cells, self._time, line)
        if math.isnan(value):
            raise ClipError(f"line {line}: {name} is empty; fill the cell, or remove the column")
        if self._times and value <= self._times[-1]:
            what = "does not advance" if value == self._times[-1] else "goes back"
            raise ClipError(f"line {line}: {name} {what}, from {self._times[-1]:g} to {value:g}; correct it, or remove the column")
        return value

    def _number(self, cells: list[str], place: int, line: int) -> float:
        """Return the number in a cell, NaN where there is none; spreadsheets may have written a decimal comma."""
        text = cells[place].strip()
        try:
            value = math.nan if text.lower() in EMPTY else float(text.replace(",", ".").replace("_", "?"))
        except ValueError:
            value = math.inf
        if math.isinf(value):
            raise ClipError(f"line {line}: {self._head.names[place]} is {text[:40]!r}, not a number; correct the cell")
        return value


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """Open a table; errors in it, and in reading it, become a `ClipError` that names the file."""
    try:
        with _regular(path) as stream, lines(stream) as text:
            yield text
    except UnicodeError as error:
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise ClipError(f"{path}: is not a CSV file in UTF-8{where}; save it as UTF-8") from error
    except csv.Error as error:
        raise ClipError(f"{path}: is not a CSV file ({error}); save it again") from error
    except OSError as error:
        raise ClipError(f"{path}: cannot be read ({error.strerror}); run `dvc checkout`, or add it again") from error
    except (ClipError, DataError) as error:
        raise ClipError(f"{path}: {error}") from error


def _regular(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():  # a pipe would never end
        raise ClipError("is not a regular file")
    return path.open("rb")


def _head(text: Iterator[str], tool: Tool) -> _TableColumns:
    number, first = next(
        ((number, line) for number, line in enumerate(text, start=1) if line.strip() and not line.lower().startswith("sep=")), (0, "")
    )  # of a spreadsheet, the first line may name the delimiter
    if not first:
        raise ClipError("is empty; run the tool again on its video")

    def columns(delimiter: str) -> list[str]:
        return [name.strip() for name in next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])]

    delimiter = max(DELIMITERS, key=lambda mark: sum(bool(tool.unit.fullmatch(name.lower())) for name in columns(mark)))
    names = columns(delimiter)
    lowered = [name.lower() for name in names]
    units = sorted({name for name in lowered if tool.unit.fullmatch(name)})
    if not units:
        raise ClipError(f"has no column of an action unit, such as {tool.example}; expected a table of {tool.title}")
    used = (*units, FRAME, tool.time, tool.success, tool.confidence)
    if twice := [name for name, count in Counter(lowered).items() if count > 1 and name in used]:
        raise ClipError(f"has two columns {names[lowered.index(twice[0])]}; remove one")
    return _TableColumns({name: place for place, name in enumerate(lowered) if name in used}, names, delimiter, units, number)


def _cells(text: Iterator[str], head: _TableColumns) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows with their lines, which may end with empty cells that have no column; blank lines are left out."""
    reader: Any = csv.reader(text, delimiter=head.delimiter, skipinitialspace=True)
    for cells in reader:
        line = head.line + reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(head.names) or any(cell.strip() for cell in cells[len(head.names) :]):
            raise ClipError(f"line {line}: has {len(cells)} cells, the header {len(head.names)}; correct the line")
        yield line, cells


def _upper(unit: str) -> str:
    return unit[:2].upper() + unit[2:]
