"""`vfer store`: what the clip store holds, and how it is emptied."""

from pathlib import Path
from typing import Annotated

import typer

from vfer import env
from vfer.cli.console import console

app = typer.Typer(no_args_is_help=True, help="Show or prune the clip store, which caches results per clip.")
Root = Annotated[Path | None, typer.Option("--store", help="Folder of the store. Default: VFER_STORE, or the store of this repository.")]


@app.command()
def show(root: Root = None) -> None:
    """Show the number of entries per step, and their size."""
    from rich.filesize import decimal
    from rich.table import Table

    from vfer.clips.prune import entries

    stored_entries = entries(_root(root))
    table = Table("step", "entries", "size", "shared with DVC's cache")
    for step in sorted({entry.step for entry in stored_entries}):
        sizes = [(entry.size, entry.shared) for entry in stored_entries if entry.step == step]
        shared = sum(size for size, both in sizes if both)
        table.add_row(step, str(len(sizes)), decimal(sum(size for size, _ in sizes)), decimal(shared))
    console.print(table)


@app.command()
def prune(
    unused_days: Annotated[float, typer.Option(min=0, help="Delete entries that were not used for this many days.")] = 30,
    max_gb: Annotated[float | None, typer.Option(min=0, help="Then delete the least recently used until this many GB are left.")] = None,
    root: Root = None,
) -> None:
    """Delete entries; only the time to compute them again is lost."""
    from rich.filesize import decimal

    from vfer.clips.prune import prune as delete

    gone = delete(_root(root), unused_days, None if max_gb is None else int(max_gb * 1e9))
    freed = sum(entry.size for entry in gone if not entry.shared)
    console.print(
        f"deleted {len(gone)} entries of {decimal(sum(entry.size for entry in gone))}, which freed {decimal(freed)}", markup=False
    )
    if any(entry.shared for entry in gone):
        console.print("the rest is DVC's, too: `dvc gc --workspace` deletes what it no longer needs", markup=False)


def _root(folder: Path | None) -> Path:
    return folder or env.store() or Path(".dvc/cache/vfer")
