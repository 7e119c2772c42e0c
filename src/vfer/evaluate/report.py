"""The page of an evaluation, `report.html`: its figures, tables and pictures in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vfer import files
from vfer.data.catalogue import audit, split
from vfer.evaluate import figures, intervals, pages, plots

Rows = Sequence[Mapping[str, object]]
TEMPLATE = Path(__file__).parent / "templates" / "evaluation.html"
HEADS = {**figures.TITLES, "f1": "F1"}


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, its sentences (`warnings` stand out), a table of rows with like keys, and PNG files."""

    heading: str
    text: str = ""
    warnings: Sequence[str] = ()
    rows: Sequence[Mapping[str, object]] = ()
    pictures: Sequence[Path] = field(default_factory=list)


def write(
    out: Path,
    summary: str,
    metrics: Mapping[str, Any],
    confidence: float,
    rows: list[split.SplitRow],
    tables: Mapping[str, Rows],
    histories: Sequence[Path],
    notes: Sequence[str] = (),
) -> None:
    """Write `report.html` into the folder of an evaluation, whose pictures lie in its `plots`; draw the trainings' curves there.

    `summary` is its figures in a sentence, `confidence` that of its intervals, `rows` the split, `tables` the scores by `expression` and by
    `subject`, and `notes` are further sentences about the test clips.
    """
    images = out / "plots"
    leaks = [f"{share:.0%} of the test clips {audit.SEEN[kind]}" for kind, share in metrics["leakage"].items() if share]
    beside = {
        "accuracy of a vote of single frames": metrics["frame_vote"]["accuracy"],
        "expected calibration error": metrics["calibration_error"],
        "negative log likelihood": metrics["log_loss"],
        "Brier score": metrics["brier"],
        "share of the frames that show a face": metrics["coverage"],
        "test clips without a face": metrics["faceless"],
    }
    sections = [
        Section("Test clips", ". ".join([summary, *notes]), warnings=leaks + split.absent(rows), rows=_scores(metrics, confidence)),
        *_relative(metrics, confidence),
        Section("The split", rows=split.counts(rows, ("recording", "subject"))),
        Section("Other metrics", rows=[{"figure": name, "value": value} for name, value in beside.items()]),
        Section("By expression", rows=_headed(tables["expression"]), pictures=[images / "confusion.png", images / "per_class.png"]),
        Section("By subject", rows=_headed(tables["subject"]), pictures=[images / "subjects.png"]),
        Section("Calibration", pictures=[images / "reliability.png"]),
        Section("Training curves", pictures=[_curves(images, history) for history in histories if files.read_figures(history)]),
    ]
    if "stills" in metrics:
        pictures = [images / f"stills_{name}.png" for name in ("confusion", "reliability", "mistakes")]
        sections.append(Section("The CNN on single test stills", rows=_scores(metrics["stills"], confidence), pictures=pictures))
    pages.write(out / "report.html", TEMPLATE, title="vfer: evaluation", sections=sections)


def _relative(metrics: Mapping[str, Any], confidence: float) -> list[Section]:
    if "baseline" not in metrics:
        return []
    own = metrics["baseline"]
    note = f"Each answer {own['protocol']} (lstm.baseline: {own['mode']}). This is a protocol of its own; compare it with no plain figure."
    rows = [{"answers": name, **row} for name, one in (("relative", own), ("plain", own["plain"])) for row in _scores(one, confidence)]
    return [Section(f"Relative to each person's own baseline: {own['clips']} clips", note, rows=rows)]


def _scores(metrics: Mapping[str, Any], confidence: float) -> Rows:
    heads = ("score", "value", intervals.head(confidence))
    return [dict(zip(heads, [title, *intervals.cells(metrics[name])], strict=True)) for name, title in figures.TITLES.items()]


def _headed(rows: Rows) -> Rows:
    return [{HEADS.get(name, name): value for name, value in row.items()} for row in rows]


def _curves(pictures: Path, history: Path) -> Path:
    stage = history.parent.name
    plots.curves(pictures / f"curves_{stage}.png", files.read_figures(history), stage)
    return pictures / f"curves_{stage}.png"
