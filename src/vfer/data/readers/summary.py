"""Tables of what a dataset holds, for `vfer data show`."""

from collections import Counter
from pathlib import Path

from rich.table import Table

from vfer.data.catalogue import manifest, stills
from vfer.data.catalogue.manifest import Clip


def clips_table(data: Path) -> Table | None:
    """Return clips, subjects, recordings and twins (recordings of several files) by source and expression."""
    if not (data / manifest.FILE).exists():
        return None
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in manifest.read(data / manifest.FILE):
        groups.setdefault((clip.source, clip.expression), []).append(clip)
        groups.setdefault((clip.source, "all"), []).append(clip)
    table = Table("source", "expression", "clips", "subjects", "recordings", "twins")
    for (source, expression), clips in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] == "all", item[0][1])):
        recordings = Counter(clip.recording for clip in clips)
        twins = sum(count > 1 for count in recordings.values())
        numbers = (len(clips), len({clip.subject for clip in clips}), len(recordings), twins)
        table.add_row(source, expression, *map(str, numbers), end_section=expression == "all")
    return table


def stills_table(data: Path) -> Table | None:
    """Return the stills by source, expression and usage, or None if there are none."""
    path = data / stills.FILE
    rows = stills.labels(path).to_pylist() if path.exists() else []
    if not rows:
        return None
    counts = Counter((row["source"], word, row["usage"]) for row in rows for word in (row["expression"], "all"))
    table = Table("source", "expression", *(f"stills: {usage}" for usage in stills.USAGES))
    for source, word in sorted({key[:2] for key in counts}, key=lambda key: (key[0], key[1] == "all", key[1])):
        table.add_row(source, word, *(str(counts[source, word, usage]) for usage in stills.USAGES), end_section=word == "all")
    return table


def size(data: Path) -> int:
    """Return the bytes of all files of the dataset."""
    return sum(path.stat().st_size for path in sorted(data.rglob("*")) if path.is_file())
