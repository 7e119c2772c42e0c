"""Runs the benchmarks and writes their table: `make bench`, or `make bench ONLY=loading,added`."""

import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from benchmarks import (
    added,
    loading,
    machine,
    memory,
    nothing,
    predict,
    processes,
    real,
    report,
    scaling,
    throughput,
    timeline,
    tracking,
    training,
)
from benchmarks.repository import HOME
from benchmarks.rows import Row, missing
from vfer.cli import console
from vfer.errors import VferError

MODULES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (throughput, added, nothing, loading, training, scaling, memory, predict, timeline, tracking, real)
}


def main(
    only: Annotated[str, typer.Option(help="Benchmarks to run, separated by commas; all where empty.")] = "",
    scratch: Annotated[Path, typer.Option(help="Folder for what the benchmarks make.")] = HOME / ".bench",
    results: Annotated[Path, typer.Option(help="Folder of RESULTS.md and results.json.")] = HOME / "benchmarks",
    real_data: Annotated[Path, typer.Option(envvar="VFER_REAL_DATA", help="Folder of real datasets.")] = HOME.parent / "shared" / "data",
) -> None:
    """Run the benchmarks in the order of the table; one that fails says so there, and the others run."""
    selection = names(only)
    shutil.rmtree(scratch / "run", ignore_errors=True)
    failures = []
    for name in selection:
        facts, start = machine.facts(), time.perf_counter()
        console.console.print(f"{name}: began, load {facts['load']}")
        try:
            rows: list[Row] = MODULES[name].run(scratch.resolve(), real_data.resolve() if real_data.is_dir() else None)
        except VferError as error:
            failures.append(name)
            rows = [missing(name, processes.plain(str(error)))]
        took = time.perf_counter() - start
        report.update(results, MODULES, name, facts, took, rows)
        for row in rows:
            console.console.print(f"  {report.line(row)}", markup=False)
        console.console.print(f"{name}: {took:.0f} s -> {results / 'RESULTS.md'}", markup=False)
    shutil.rmtree(scratch / "run", ignore_errors=True)
    if failures:
        raise VferError(f"benchmarks: {', '.join(failures)} failed; {results / 'RESULTS.md'} says why")


def names(only: str) -> list[str]:
    """Return the chosen benchmarks in the order of the table; raise `VferError` for one that is unknown."""
    requests = [name.strip() for name in only.split(",") if name.strip()] or list(MODULES)
    for name in requests:
        if name not in MODULES:
            raise VferError(f"ONLY: {name} is not a benchmark; expected some of {', '.join(MODULES)}")
    return [name for name in MODULES if name in requests]


if __name__ == "__main__":
    console.run(main)
