"""Keeps the results, `results.json`, and writes the table, `RESULTS.md`, from them alone."""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.rows import Row
from vfer import files

Results = dict[str, dict[str, Any]]
HEAD = """# Benchmarks

Written by `make bench`; `make bench ONLY=throughput` measures one part again and leaves the others as they were. Each part says when it was
measured. Figures are medians; what is compared was run in turn, in the same run, and ratios are of one round each.
"""


def update(
    folder: Path, modules: Mapping[str, ModuleType], name: str, facts: Mapping[str, object], seconds: float, rows: list[Row]
) -> None:
    """Put one benchmark's rows in the place of its former ones and write both files."""
    path = folder / "results.json"
    results: Results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = {**facts, "seconds": round(seconds), "rows": [asdict(row) for row in rows]}
    in_order = {key: results[key] for key in modules if key in results}
    files.write_json(path, in_order)
    files.write_bytes(folder / "RESULTS.md", text(in_order, modules).encode())


def text(results: Results, modules: Mapping[str, ModuleType]) -> str:
    """Return the whole of RESULTS.md."""
    parts = [HEAD, *(part for name, result in results.items() for part in section(name, result, inspect.getdoc(modules[name]) or ""))]
    return "\n".join(parts)


def section(name: str, result: Mapping[str, Any], about: str) -> Iterator[str]:
    """Yield a benchmark's heading, how it was measured, and its table."""
    yield f"## {name}\n\n{about}\n"
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    yield (
        f"Measured {result['date']} in {result['seconds']} s, `make bench ONLY={name}` or the whole, commit {result['commit']}: "
        f"{result['machine']}, load {result['load']} when it began. {versions}.\n"
    )
    yield "| figure | value | lowest to highest | goal | reached |\n|---|---|---|---|---|"
    for row in result["rows"]:
        yield line(Row(**row))
    yield ""
    notes = [f"- {row['what']}: {row['note']}" for row in result["rows"] if row["note"]]
    if notes:
        yield "\n".join(notes) + "\n"


def line(row: Row) -> str:
    """Return one row of a table."""
    verdict = {None: "", True: "yes", False: "**no**"}[row.met]
    if row.value is None:
        return f"| {row.what} | not measured | | | |"
    spread = f"{figure(row.low)} to {figure(row.high)} ({row.runs})" if row.runs > 1 else "(1)"
    return f"| {row.what} | {figure(row.value)} {row.unit} | {spread} | {row.goal} | {verdict} |"


def figure(value: float | None) -> str:
    """Return a number with three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"
