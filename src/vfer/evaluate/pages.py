"""Self-contained pages of HTML: styles, scripts, data and pictures are inside, and nothing is loaded."""

import base64
import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfer.files import writing

if TYPE_CHECKING:
    from jinja2 import Environment


def write(path: Path, template: Path, **content: object) -> None:
    """Write a page, atomically; the same content gives the same bytes.

    Args:
        path: The page.
        template: Its Jinja template; `file(NAME)` in it is the text of a file in the same folder.
        content: What the template shows.
    """
    page = _environment(template.parent).get_template(template.name).stream(**content)
    with writing(path) as stream:
        page.dump(stream, encoding="utf-8")  # in parts, since a film's data is large


@cache
def _environment(folder: Path) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "clock": clock, "data": _data, "parts": _parts, "png": _png}
    environment.globals["file"] = lambda name: (folder / name).read_text(encoding="utf-8")
    return environment


def picture(content: bytes, kind: str) -> str:
    """Return the address of a picture, of the kind `jpeg` or `png`, that a page holds itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _png(path: Path) -> str:
    return picture(path.read_bytes(), "png")


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _data(value: Any) -> str:
    """Return JSON that is safe inside a script element."""
    return "".join(_parts(value))


def _parts(value: Any) -> Iterator[str]:
    """Yield that JSON part by part, since a film's data, with a picture of each segment, is large; bytes are JPEG pictures."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=partial(picture, kind="jpeg"))
    return (part.replace("<", "\\u003c") for part in encoder.iterencode(value))


def clock(seconds: float) -> str:
    """Return a time as M:SS.t, or H:MM:SS.t from an hour on."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
