"""`vfer doctor`: what works here, and what to do where it does not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from vfer.cli.console import console, progress

if TYPE_CHECKING:
    from vfer.cli.doctor.check import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(root: Annotated[Path, typer.Option(help="The repository's folder.")] = Path()) -> None:
    """Check what works here, and say what to do where it does not."""
    from vfer.cli.doctor.examine import CHECKS, examine

    with progress() as bar:
        checks = list(bar.track(examine(root), total=len(CHECKS), description="doctor"))
    console.print(_table(checks))
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(1)


def _table(checks: "list[Check]") -> Table:
    table = Table("check", "")
    table.add_column("detail", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for check in checks:
        table.add_row(check.name, Text(check.status, STYLES[check.status]), Text(check.detail), Text(check.remedy))
    return table
