"""`vfer relocate`: makes the MLflow store follow a repository that was moved, copied or renamed."""

from pathlib import Path
from typing import Annotated

import typer

from vfer.cli.console import console


def relocate(root: Annotated[Path, typer.Option(help="The repository's folder.")] = Path()) -> None:
    """Let the repository's own MLflow store find its artifacts after a move; stages that log to MLflow do so by themselves."""
    from vfer.register import address, project, tracking

    if address.is_shared(root):
        console.print(f"{address.uri(root)} is not the repository's own store, and was left alone", markup=False)
        return
    if tracking.follow(root, project.name(root / "params.yaml", root)) is None:
        console.print(f"{address.local(root)}: nothing to do, its artifacts are in {address.artifacts(root)}", markup=False)
