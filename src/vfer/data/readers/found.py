"""What a dataset is made of: the files a reader is given, and what it makes of them."""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from vfer.data.manifest import Framing
from vfer.errors import DataError

Usage = Literal["train", "validation", "test"]

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VIDEOS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
IMAGES = (".jpeg", ".jpg", ".png")


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
        """Returns the name of the folder that holds it, or of one further up; empty where there is none."""
        return self.parts[-1 - up] if len(self.parts) > up else ""

    def read(self) -> bytes:
        """Returns its bytes."""
        with self.open() as stream:
            return stream.read()

    def save(self, path: Path) -> None:
        """Writes its bytes to `path`, in bounded memory."""
        with self.open() as stream, path.open("wb") as output:
            shutil.copyfileobj(stream, output, 1 << 20)


@dataclass(frozen=True)
class FoundClip:
    """One clip that a reader found; `save` writes its file to a path.

    `name` is the clip's name without its source. `expression` is the dataset's own word. Without a `recording`, the clip
    is the only one of its performance. `source` is set only where the dataset itself names one.
    """

    name: str
    suffix: str
    expression: str
    subject: str
    origin: str
    save: Callable[[Path], None]
    recording: str | None = None
    framing: Framing = "scene"
    source: str | None = None


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


Found = FoundClip | FoundStill | Refused | Passed


@dataclass(frozen=True)
class Reader:
    """One layout of dataset: its function, how the layout looks (shown where nothing fits), and its source, else the reader's name."""

    read: Callable[[Sequence[Entry]], Iterable[Found]]
    layout: str
    source: str | None = None


def check_word(word: str) -> None:
    """Raises `DataError` where a source or an expression could not stand in a path."""
    if not WORD.fullmatch(word):
        raise DataError(f"{word!r} is no safe name; use letters, digits, '.', '_' and '-'")


def safe(text: str) -> str:
    """Returns the text with everything but letters, digits, '.', '_' and '-' replaced by '_'; it never begins with a dot."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")
