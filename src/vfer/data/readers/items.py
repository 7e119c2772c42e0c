"""The files that a reader takes, and the clips and stills that it yields."""

import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from vfer.data.catalogue.manifest import Framing
from vfer.errors import DataError

Usage = Literal["train", "validation", "test"]

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VIDEOS = (
    *(".3g2", ".3gp", ".asf", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf"),
    *(".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
IMAGES = (".jpeg", ".jpg", ".png")
MAX_READ = 64 << 20
"""Bytes of a file that is read whole: a picture, or a table."""
LONGEST = 100  # characters of a name's part; with a step's suffix it fits in every file system


@dataclass(frozen=True)
class Entry:
    """One file in a folder or inside a zip; nothing of it is read before it is opened.

    `origin` names it to people; `parts` are its folders and its name, from the root of the file system or beyond, so that
    a reader can look at the last few wherever the user started; `local` is its path unless it lies inside a zip.
    """

    origin: str
    parts: tuple[str, ...]
    open: Callable[[], IO[bytes]]
    local: Path | None = None

    @property
    def name(self) -> str:
        """Its file name."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """Its file name without the suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """Its suffix in small letters, with the dot."""
        return Path(self.name).suffix.lower()

    def folder(self, up: int = 1) -> str:
        """Return the name of the folder that holds it, or of one further up; empty if there is none."""
        return self.parts[-1 - up] if len(self.parts) > up else ""

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            DataError: If they are more than `MAX_READ`.
        """
        with self.open() as stream:
            content = stream.read(MAX_READ + 1)
        if len(content) > MAX_READ:
            raise DataError(f"is larger than {MAX_READ >> 20} MiB")
        return content

    def save(self, path: Path) -> None:
        """Write its bytes to `path`, in bounded memory."""
        with self.open() as stream, path.open("wb") as output:
            shutil.copyfileobj(stream, output, 1 << 20)


@dataclass(frozen=True)
class FoundClip:
    """One clip that a reader found; `save` writes its file to a path.

    `name` is the clip's name without its source. `expression` is the dataset's own word. Without a `recording`, the clip
    is the only one of its performance. `source` and `framing` are set only where the dataset itself names them. A feature table has a
    `twin`, the stem of its video: if the dataset holds that clip, it says what the table shows.
    """

    name: str
    suffix: str
    expression: str
    subject: str
    origin: str
    save: Callable[[Path], None]
    recording: str | None = None
    framing: Framing | None = None
    source: str | None = None
    twin: str | None = None


@dataclass(frozen=True)
class FoundStill:
    """One still that a reader found; `read` returns its encoded bytes (PNG or JPEG).

    `votes` says how many annotators saw which expression, in the dataset's own words, where it was shown to several.
    """

    name: str
    expression: str
    usage: Usage
    origin: str
    read: Callable[[], bytes]
    subject: str | None = None
    votes: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Refused:
    """One thing that cannot be used although it should be, and why."""

    origin: str
    reason: str


@dataclass(frozen=True)
class Passed:
    """One thing that a healthy copy of the dataset holds and that is not used, and why; people see the count of each reason."""

    origin: str
    reason: str


Item = FoundClip | FoundStill | Refused | Passed


@dataclass(frozen=True)
class Reader:
    """One layout of dataset: its function, how the layout looks (shown where nothing fits), and its source, else the reader's name.

    `warning` is shown whenever clips were added.
    """

    read: Callable[[Sequence[Entry]], Iterable[Item]]
    layout: str
    source: str | None = None
    warning: str = ""


def check_word(word: str) -> None:
    """Raise `DataError` if a source or an expression cannot be part of a path."""
    if not WORD.fullmatch(word):
        raise DataError(f"{word!r} is not a safe name; use letters, digits, '.', '_' and '-'")


def safe(text: str) -> str:
    """Return a text as a part of a path: letters, digits, '.', '_' and '-', none of the last three in front; '' for dots alone.

    Spaces become '_'. Where other characters are lost, or the text is cut, a short hash of it keeps names apart that differ.
    """
    whole = unicodedata.normalize("NFC", text)
    plain = re.sub(r"\s+", "_", whole)
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", bare).lstrip("._-")
    if cleaned == plain and len(cleaned) <= LONGEST:
        return cleaned
    if not plain.strip("./\\"):
        return ""
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]
    return f"{cleaned[:LONGEST].rstrip('._-')}-{digest}".lstrip("-")


def readable(text: str) -> str:
    """Return a text as UTF-8 can hold it and a line can show it: composed, and with escapes for bytes and control characters."""
    composed = unicodedata.normalize("NFC", os.fsencode(text).decode("utf-8", "backslashreplace"))
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in composed)
