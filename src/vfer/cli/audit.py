"""`vfer audit`: who stands on both sides of a split, and what that is worth."""

import json
from pathlib import Path
from typing import Annotated

import typer


def audit(
    parts: Annotated[Path | None, typer.Argument(metavar="SPLIT", help="A split, a Parquet file; that of the last run if none.")] = None,
    root: Annotated[Path, typer.Option(help="The repository.")] = Path(),
) -> None:
    """Show what of a split's test clips was seen in training, by the split and by every protocol, and the accuracy under each."""
    from rich.table import Table

    from vfer import split
    from vfer.console import console

    rows = split.read(parts or root / "outputs" / "lstm" / "split.parquet")
    table = Table("part", "clips", "subjects", "recordings", "expressions")
    for part in split.PARTS:
        chosen = [row for row in rows if row.part == part]
        counts = [len({getattr(row, name) for row in chosen}) for name in ("subject", "recording", "expression")]
        table.add_row(part, *map(str, [len(chosen), *counts]))
    console.print(table)
    leaked = split.leakage(rows)
    console.print(f"test clips whose recording was seen in training: {leaked['recording']:.0%}; whose subject: {leaked['subject']:.0%}")
    absent = sorted({row.expression for row in rows} - {row.expression for row in rows if row.part == "train"})
    if absent:
        console.print(f"no clip to train on shows {', '.join(absent)}; every test clip of them will be wrong", markup=False)
    found = root / "outputs" / "comparison" / "compare" / "metrics.json"
    if not found.is_file():
        console.print("what that is worth: `make compare` trains the same methods under every protocol", markup=False)
        return
    compared = {protocol: told for protocol, told in json.loads(found.read_text()).items() if "lstm" in told}
    worth = Table("the LSTM under", "recording seen", "subject seen", "accuracy", "interval", "UAR")
    for protocol, told in compared.items():
        made = told["lstm"]
        leaks, accuracy = made["leakage"], made["accuracy"]
        worth.add_row(
            protocol,
            f"{leaks['recording']:.0%}",
            f"{leaks['subject']:.0%}",
            f"{accuracy['value']:.3f}",
            f"{accuracy['low']:.3f} to {accuracy['high']:.3f}",
            f"{made['uar']['value']:.3f}",
        )
    console.print(worth)
