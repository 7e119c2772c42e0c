"""`vfer summary`: the results of the last run of the pipeline."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vfer.errors import DataError


def summary(root: Annotated[Path, typer.Option(help="The repository.")] = Path()) -> None:
    """Show the results of the last run, and where to find its plots, MLflow run and models."""
    from rich.table import Table

    from vfer.cli.console import console
    from vfer.data.catalogue.audit import SEEN
    from vfer.evaluate.figures import TITLES
    from vfer.evaluate.intervals import cells
    from vfer.files import flatten
    from vfer.register import address

    outputs = root / "outputs"
    evaluate, register = _read(outputs / "evaluate" / "metrics.json"), _read(outputs / "register" / "register.json")
    figures = flatten(evaluate)
    table = Table("on the test clips", "value", "interval")
    for name in TITLES:
        table.add_row(name, *cells(evaluate[name]))
    table.add_row("accuracy of a vote of frames", f"{figures['frame_vote.accuracy']:.3f}", "")
    table.add_row("detection coverage", f"{figures['coverage']:.3f}", "")
    table.add_row("clips, subjects", f"{figures['clips']:.0f}, {figures['subjects']:.0f}", "")
    for kind, share in evaluate["leakage"].items():
        table.add_row(f"test clips that {SEEN[kind]}", f"{share:.0%}", "")
    console.print(table)
    models = ", ".join(f"{name} version {version}" for name, version in register["versions"].items())
    console.print(f"report      {outputs / 'evaluate' / 'report.html'} (one page, for any browser)", markup=False)
    console.print(f"plots       {outputs / 'evaluate' / 'plots'} (pictures), `dvc plots show` (interactive)", markup=False)
    console.print(f"MLflow run  {register['run_id']} in {address.uri(root.resolve())}", markup=False)
    console.print(f"models      {models}", markup=False)
    console.print(f"champion    {'yes' if register['champion'] else 'no'}: {register['reason']}", markup=False)
    uri = address.uri(root.resolve())
    served = uri.startswith("http")
    page = f"{uri if served else 'http://127.0.0.1:5000'}/#/experiments/{register['experiment_id']}/runs?workflowType=machine_learning"
    console.print(f"browse      {'' if served else '`make ui`, then '}{page}", markup=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is missing or damaged; run `dvc repro`") from error
