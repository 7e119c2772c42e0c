"""`vfer audit`: which subjects and recordings a split has on both sides, and what that is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from vfer.files import MOST_SHOWN

if TYPE_CHECKING:
    from vfer.data.catalogue.split import SplitRow

WORTH = ("accuracy", "interval", "UAR")
FOLDS = 5


def audit(
    parts: Annotated[Path | None, typer.Argument(metavar="SPLIT", help="A split, as Parquet. Default: that of the last run.")] = None,
    root: Annotated[Path, typer.Option(help="The repository.")] = Path(),
) -> None:
    """Show which test clips a model has seen in training, what each protocol leaks, and how much that is worth."""
    from rich.table import Table

    from vfer.cli.console import console, warn
    from vfer.data.catalogue import audit as leakage
    from vfer.data.catalogue import learned, split

    where = parts or root / "outputs" / "lstm" / "split.parquet"
    rows = split.read(where)
    counts = split.counts(rows, ("subject", "recording", "expression"))
    sides = Table(*counts[0], title=str(where), title_justify="left")
    for count in counts:
        sides.add_row(*map(str, count.values()))
    console.print(sides)
    examples = root / "outputs" / "tune" / learned.FILE
    network = learned.read(examples) if examples.is_file() else []
    copies = _copies(rows, root / "outputs" / "faces" / "clips")
    for kind, share in leakage.leakage(rows, network, copies).items():
        console.print(f"{share:.0%} of the test clips {leakage.SEEN[kind]}", markup=False)
    for note in leakage.unnamed(network):
        console.print(note, markup=False)
    for clip, other in list((copies or {}).items())[:MOST_SHOWN]:
        warn(f"{clip}: shows the same footage as {other}; give both the same recording and subject, or remove one")
    if copies is None:
        console.print("copies in other bytes were not looked for: outputs/faces/clips lacks clips; run `dvc repro faces`", markup=False)
    for lacking in split.absent(rows):
        warn(lacking)
    console.print()
    figures = _compared(root / "outputs" / "comparison" / "compare" / "metrics.json")
    title = "seen in training, by protocol" + ("; accuracy and UAR of the LSTM" if figures else "")
    table = Table("split by", "recordings", "subjects", *(WORTH if figures else ()), title=title, title_justify="left")
    for protocol in figures or get_args(split.Protocol):
        leaks = figures[protocol]["leakage"] if figures else _would(rows, protocol, where)
        if leaks is not None:
            table.add_row(protocol, *(f"{leaks[kind]:.0%}" for kind in ("recording", "subject")), *_worth(figures.get(protocol)))
    console.print(table)
    if not figures:
        console.print("what that is worth: `make compare` trains the same methods under every protocol", markup=False)


def _copies(rows: "list[SplitRow]", faces: Path) -> dict[str, str] | None:
    """Return the test clips that are copies of clips seen in training, in other bytes, with these; None if there are no crops."""
    from vfer.cli.console import progress
    from vfer.data.footage import Footage, copies
    from vfer.faces import table

    if not all((faces / f"{row.clip}.parquet").is_file() for row in rows):
        return None
    digests = {row.digest for row in rows if row.part != "test"} - {""}
    test = [row.clip for row in rows if row.part == "test" and row.digest not in digests]
    with progress() as bar:
        pairs = copies(
            bar.track(test, description="audit"),
            [row.clip for row in rows if row.part != "test"],
            lambda clip: Footage.of(table.read(faces / f"{clip}.parquet")),
        )
        return dict(pairs)


def _compared(path: Path) -> dict[str, dict[str, Any]]:
    """Return the LSTM's figures by protocol; none if nothing was compared."""
    import json

    from vfer.errors import DataError

    if not path.is_file():
        return {}
    try:
        return {protocol: methods["lstm"] for protocol, methods in json.loads(path.read_bytes()).items() if "lstm" in methods}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged; run `make compare`") from error


def _worth(figures: dict[str, Any] | None) -> list[str]:
    from vfer.evaluate.intervals import cells

    return [*cells(figures["accuracy"]), cells(figures["uar"])[0]] if figures else []


def _would(rows: "list[SplitRow]", protocol: str, where: Path) -> dict[str, float] | None:
    """Return what the first of some folds would leak; nothing if the clips cannot fill them."""
    from vfer.data.catalogue import audit, split
    from vfer.data.catalogue.manifest import Clip
    from vfer.errors import DataError

    clips = [Clip(row.clip, row.clip, row.expression, row.subject, row.recording, row.source) for row in rows]
    params = split.SplitParams(protocol=protocol, folds=FOLDS, fold=0)  # type: ignore[arg-type]  # one of the three
    try:
        return audit.leakage(split.split(clips, [row.expression for row in rows], params, 0, where))
    except DataError:
        return None
