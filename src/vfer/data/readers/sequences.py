"""Sequences of pictures: one folder of numbered pictures per clip, as CASME, Oulu-CASIA and MMI are published."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.data.readers.expressions import EXPRESSIONS, SYNONYMS
from vfer.data.readers.items import Entry, FoundClip, Item, Passed, Refused, safe
from vfer.data.readers.scan import UNREADABLE, local
from vfer.data.readers.text import lines
from vfer.data.readers.video import RATE, encode
from vfer.errors import ClipError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
OULU = re.compile(r"(VL|NI).*|Strong|Weak|Dark", re.IGNORECASE)  # Oulu-CASIA's cameras and lights
SUBJECT = ("subject", "participant")
SEQUENCE = ("filename", "sequence", "clip", "folder")
EXPRESSION = ("expression", "emotion", "estimated emotion", "label")


@dataclass(frozen=True)
class Pictures:
    """The pictures of one sequence, in order; called with a path, it writes them there as a lossless video of `rate` a second.

    `side`, where given, is the width and height that each picture must have.
    """

    entries: tuple[Entry, ...]
    side: int | None = None
    rate: float = RATE
    suffix = ".mkv"

    @classmethod
    def of(cls, folder: Path) -> "Pictures":
        """Return the numbered pictures in a folder."""
        return cls(tuple(ordered(local(path) for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.name[0] != ".")))

    def __call__(self, path: Path) -> None:
        """Write the video.

        Raises:
            ClipError: If a picture does not fit.
        """
        encode(path, self._frames(), self.rate)

    def _frames(self) -> "Iterator[NDArray[np.uint8]]":
        from vfer.data.catalogue.stills import grey

        shape = None
        for entry in self.entries:
            frame = grey(entry.read())
            if frame is None:
                raise ClipError(f"picture {entry.name} cannot be decoded")
            if self.side and frame.shape != (self.side, self.side):
                raise ClipError(f"picture {entry.name} is not {self.side}x{self.side}")
            if shape not in (None, frame.shape):
                raise ClipError(f"its pictures differ in size: {entry.name} is {frame.shape[1]}x{frame.shape[0]}")
            shape = frame.shape
            yield frame


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Return pictures in the order of the numbers in their names, of which the last one changes fastest."""
    return sorted(entries, key=lambda entry: ([int(number) for number in re.findall(r"[0-9]+", entry.stem)], entry.name))


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield a clip for each folder of pictures.

    Its expression is the folder's own name (`<subject>/<expression>/`, as in Oulu-CASIA), that of the folder above
    (`<expression>/<subject>_<anything>/`), or what a table says that is given, too: a CSV file with a column for the subject, for the
    name of the folder, and for the expression (CASME's coding, saved as CSV).
    """
    folders: dict[tuple[str, ...], list[Entry]] = {}
    coding: dict[tuple[str, str], str] = {}
    for entry in entries:
        if entry.suffix in PICTURES:
            folders.setdefault(entry.parts[:-1], []).append(entry)
        elif entry.suffix == ".csv":
            try:
                coding |= _coding(entry)
            except (*UNREADABLE, csv.Error, DataError) as error:
                yield Refused(entry.origin, str(error))
        else:
            yield Passed(entry.origin, "neither a picture nor a table")
    for parts, pictures in sorted(folders.items()):
        yield _sequence(parts, pictures, coding)


def _sequence(parts: tuple[str, ...], pictures: list[Entry], coding: dict[tuple[str, str], str]) -> Item:
    folder, above = parts[-1], parts[-2] if len(parts) > 1 else ""
    origin = str(Path(pictures[0].origin).parent)
    if len(pictures) < 2:
        return Passed(origin, "a folder of one picture")
    if coding:
        expression = coding.get((_person(above), folder.lower()))
        if expression is None:
            return Passed(origin, "a sequence that the table does not list")
        return _clip(f"{safe(above)}/{safe(folder)}", expression, above, origin, pictures)
    if _is_expression(folder):
        group = [part for part in parts[-4:-2] if OULU.fullmatch(part)]
        recording = "/".join(safe(part) for part in (*group[-1:], above, folder)) if len(group) == 2 else None  # two cameras, one moment
        return _clip("/".join(safe(part) for part in (*group, above, folder)), folder, above, origin, pictures, recording)
    return _clip(f"{safe(above)}/{safe(folder)}", above, folder.partition("_")[0], origin, pictures)


def _clip(name: str, expression: str, subject: str, origin: str, pictures: list[Entry], recording: str | None = None) -> FoundClip:
    sequence = Pictures(tuple(ordered(pictures)))
    return FoundClip(name, sequence.suffix, expression, subject, origin, sequence, recording and f"sequences/{recording}")


def _is_expression(word: str) -> bool:
    return word.lower() in EXPRESSIONS or word.lower() in SYNONYMS


def _person(text: str) -> str:
    """Return a subject as tables and folders agree on it: `1`, `01` and `sub01` are one person."""
    number = re.fullmatch(r"\D*0*([0-9]+)", text)
    return number[1] if number else text.lower()


def _coding(entry: Entry) -> dict[tuple[str, str], str]:
    with lines(entry) as text:
        rows = csv.DictReader(text)
        names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        columns = [next((names[name] for name in spellings if name in names), None) for spellings in (SUBJECT, SEQUENCE, EXPRESSION)]
        if None in columns:
            raise DataError(f"has no column for subject, filename and expression; found {', '.join(filter(None, names))}")
        return {(_person(_value(row, columns[0])), _value(row, columns[1]).lower()): _value(row, columns[2]) for row in rows}


def _value(row: "dict[str | None, str | None]", column: str | None) -> str:
    return (row.get(column) or "").strip()
