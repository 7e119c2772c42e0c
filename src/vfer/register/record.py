"""What a registered model stores for later contests: the people it was trained on, and its predictions for its test clips."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vfer.clips.fingerprint import fingerprint
from vfer.data.catalogue import learned
from vfer.data.catalogue.learned import Example
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.files import replacing, write_json

FILE, ANSWERS = "record.json", "answers.parquet"
COLUMNS = ("digest", "clip", "expression", "subject", "recording", "predicted")


@dataclass(frozen=True)
class ClipAnswer:
    """A system's answer for one clip: the sha256 of its file, its true expression, its subject, and the answer, None for none."""

    digest: str
    clip: str
    expression: str
    subject: str
    recording: str
    predicted: str | None


@dataclass(frozen=True)
class Rules:
    """What must be alike for two systems to be compared: classes, merged labels, how answers are made, what faceless clips count as, and
    where the features come from."""

    classes: list[str]
    merge: dict[str, str]
    baseline: str
    faceless: str
    source: str = "cnn"


@dataclass(frozen=True)
class Record:
    """A system's rules, what it has learned from, its answers to its test clips, and its accuracy on which validation clips."""

    rules: Rules
    learned: list[Example]
    answers: list[ClipAnswer]
    validation: float
    validated: str

    @property
    def training_examples(self) -> tuple[set[str], set[str]]:
        """The subjects and the digests that it has learned from, in training or validation."""
        examples = [example for example in self.learned if example.part != "test"]
        return {example.subject for example in examples} - {""}, {example.digest for example in examples} - {""}


def collect(outputs: Path, params: dict[str, Any], classes: Sequence[str], rows: Sequence[SplitRow]) -> Record:
    """Return the record of the system that the stages before `register` have made; raise `DataError` if an output is missing."""
    try:
        baseline = str(params["lstm"].get("baseline", "none"))
        answers = _answers(pq.read_table(outputs / "evaluate" / "predictions.parquet"), baseline)
        figures = json.loads((outputs / "lstm" / "metrics.json").read_bytes())
        validation = figures["validation" if baseline == "none" else "validation_baseline"]["accuracy"]
        source = str(params.get("features", {}).get("source", "cnn"))
        rules = Rules(list(classes), dict(params["labels"]["merge"]), baseline, str(params["evaluate"]["faceless"]), source)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{outputs}: an earlier stage's output is missing or damaged ({error}); run `dvc repro`") from error
    examples = list(dict.fromkeys([*learned.of_split(rows), *learned.read(outputs / "tune" / learned.FILE)]))
    validated = fingerprint({"clips": sorted((row.digest, row.expression) for row in rows if row.part == "validation")})
    return Record(rules, examples, answers, float(validation), validated)


def _answers(table: pa.Table, baseline: str) -> list[ClipAnswer]:
    """Return the answers by which a system is judged: those relative to people's baselines where it is trained for them."""
    if baseline != "none":
        table = table.filter(pc.field("scored_with_baseline")).drop_columns(["predicted"]).rename_columns({"with_baseline": "predicted"})
    return [ClipAnswer(**row) for row in table.select(COLUMNS).to_pylist()]


def write(folder: Path, record: Record) -> None:
    """Write a record as three files into a folder."""
    learned.write(folder / learned.FILE, record.learned)
    with replacing(folder / ANSWERS) as temporary:
        columns = {name: pa.array([getattr(answer, name) for answer in record.answers], pa.string()) for name in COLUMNS}
        pq.write_table(pa.table(columns), temporary)
    write_json(folder / FILE, {"rules": asdict(record.rules), "validation": record.validation, "validated": record.validated})


def read(folder: Path) -> Record:
    """Read a record; raise `DataError` if the folder holds none."""
    try:
        content = json.loads((folder / FILE).read_bytes())
        answers = [ClipAnswer(**row) for row in pq.read_table(folder / ANSWERS, columns=list(COLUMNS)).to_pylist()]
        rules = Rules(**content["rules"])
        return Record(rules, learned.read(folder / learned.FILE), answers, float(content["validation"]), str(content["validated"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{folder}: holds no record of what the model has learned from ({error})") from error
