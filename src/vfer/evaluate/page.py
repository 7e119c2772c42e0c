"""A self-contained page of HTML: its pictures are inside, and it loads nothing."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from vfer.files import write_bytes

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th, td { padding: .2rem .7rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f5f7fa } thead th { border-bottom: 1px solid #999 }
img { max-width: 100%; height: auto; margin: .5rem 1rem .5rem 0; vertical-align: top }
p.warning { background: #fff3cd; padding: .5rem .8rem }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, its sentences (`warnings` stand out), a table of rows with like keys, and PNG files."""

    heading: str
    text: str = ""
    warnings: Sequence[str] = ()
    rows: Sequence[Mapping[str, object]] = ()
    pictures: Sequence[Path] = field(default_factory=list)


def write(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically; the same sections give the same bytes."""
    body = "\n".join([f"<h1>{escape(title)}</h1>", *map(_section, sections)])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    write_bytes(path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'.encode())


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.heading)}</h2>"]
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in section.warnings]
    parts += [f"<p>{escape(section.text)}</p>"] if section.text else []
    parts += [_table(section.rows)] if section.rows else []
    parts += [_picture(path) for path in section.pictures]
    return "\n".join(parts)


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    heads = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    lines = ("".join(f"<td>{escape(_cell(value))}</td>" for value in row.values()) for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _picture(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem.replace("_", " "))}" src="data:image/png;base64,{content}">'
