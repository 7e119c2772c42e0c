"""The command `vfer doctor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vfer.cli.console import console, progress

if TYPE_CHECKING:
    from vfer.cli.doctor.check import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(root: Annotated[Path, typer.Option(help="The repository.")] = Path()) -> None:
    """Check this machine and repository, and say how to fix problems."""
    from vfer.cli.doctor.examine import CHECKS, examine

    with progress() as bar:
        checks = list(bar.track(examine(root), total=len(CHECKS), description="doctor"))
    console.print(_table(checks))
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(1)


def _table(checks: "list[Check]") -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        lines = check.detail + (f"\n-> {check.remedy}" if check.remedy else "")
        table.add_row(Text(check.status, STYLES[check.status]), check.name, Text(lines))
    return table
