"""`compare`: the figures of every method under every protocol, as tables, pictures and MLflow runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vfer import artifacts, console, params
from vfer.comparison import answers, report
from vfer.comparison.params import CompareParams


def main(
    said: Annotated[Path, typer.Option("--answers", help="Folder of the methods' answers: a folder a protocol, a file a method.")],
    config: Annotated[Path, typer.Option("--params", help="The params file of the pipeline.")],
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables and the pictures.")],
) -> None:
    """Writes metrics.json, table.md and table.csv."""
    chosen = params.load(settings, "compare", CompareParams)
    seed = params.seed(config)
    with console.Stage("compare") as stage:
        table: dict[str, Any] = {}
        for protocol in chosen.protocols:
            found = {path.stem: answers.read(path) for path in sorted((said / protocol).glob("*.parquet"))}
            judged = {name: report.told(folds, chosen, seed) for name, folds in found.items()}
            p = report.compared({name: right for name, (_, right) in judged.items()})
            made = {name: figures | ({"p": p[name]} if name in p else {}) for name, (figures, _) in judged.items()}
            table[protocol] = {"methods": made}
        artifacts.write_json(out / "metrics.json", table)
        text = report.markdown({protocol: told["methods"] for protocol, told in table.items()})
        artifacts.write_bytes(out / "table.md", text.encode())
        stage.made = f"{sum(len(told['methods']) for told in table.values())} methods and protocols -> {out}"


if __name__ == "__main__":
    console.run(main)
