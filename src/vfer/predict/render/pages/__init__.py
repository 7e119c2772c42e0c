"""Self-contained pages of HTML: styles, scripts, data and pictures are inside, and nothing is loaded."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfer.files import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write(path: Path, template: str, **content: object) -> None:
    """Write a page, atomically; the same content gives the same bytes.

    Args:
        path: The page.
        template: A file in `templates`.
        content: What the template shows.
    """
    write_bytes(path, _environment().get_template(template).render(**content).encode())


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data": _data, "clock": clock}
    environment.globals["file"] = lambda name: (TEMPLATES / name).read_text(encoding="utf-8")
    return environment


def _data(value: Any) -> str:
    """Return JSON that may stand in a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def clock(seconds: float) -> str:
    """Return a time as M:SS.t, or H:MM:SS.t from an hour on."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
