"""The file formats of timelines: one module per family, one row of `FORMATS` per format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.errors import DataError

if TYPE_CHECKING:
    from vfer.predict.timeline.timeline import Timeline


@dataclass(frozen=True)
class Format:
    """One kind of file: how its name ends, the module of this package that writes it, and the function there."""

    ending: str
    module: str
    function: str

    def write(self, path: Path, timeline: "Timeline") -> None:
        """Write a timeline's file in place of a former one, atomically."""
        function: Callable[[Path, Timeline], None] = getattr(import_module(f"vfer.predict.{self.module}"), self.function)
        function(path, timeline)


FORMATS = {
    "csv": Format(".frames.csv", "formats.tables", "write_csv"),
    "parquet": Format(".frames.parquet", "formats.tables", "write_parquet"),
    "segments": Format(".segments.csv", "formats.tables", "write_segments"),
    "eaf": Format(".eaf", "formats.elan", "write_eaf"),
    "textgrid": Format(".TextGrid", "formats.elan", "write_textgrid"),
    "srt": Format(".srt", "formats.subtitles", "write"),
    "vtt": Format(".vtt", "formats.subtitles", "write"),
    "labelstudio": Format(".labelstudio.json", "formats.labelstudio", "write"),
    "html": Format(".html", "render.report", "write"),
    "provenance": Format(".provenance.json", "formats.tables", "write_provenance"),
}


def by_names(names: str) -> dict[str, Format]:
    """Return the formats of a list of names, separated by commas.

    Raises:
        DataError: For one that is unknown.
    """
    keys = [name.strip().lower() for name in names.split(",") if name.strip()]
    for name in keys:
        if name not in FORMATS:
            raise DataError(f"--formats: {name} is unknown; expected some of {', '.join(FORMATS)}")
    return {name: FORMATS[name] for name in FORMATS if name in keys}


def of(path: Path) -> Format | None:
    """Return the format of a file by the longest known ending of its name; None for a folder's name."""
    name = path.name.lower()
    endings: Sequence[Format] = sorted(FORMATS.values(), key=lambda one: -len(one.ending))
    for one in endings:
        if name.endswith(one.ending.lower()):
            return one
    plain = {".csv": FORMATS["csv"], ".parquet": FORMATS["parquet"], ".json": FORMATS["labelstudio"], ".htm": FORMATS["html"]}
    return plain.get(path.suffix.lower())
