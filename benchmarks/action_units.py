"""The sequence model on OpenFace's action units of RAVDESS, one actor left out: as they are, and relative to each person's own baseline.

    python -m benchmarks.action_units ravdess_au5.zip --set epochs=60 --set refit=true

The archive holds a CSV a clip under RAVDESS's file names, with a row a frame at 29.97 a second. Of each test actor everything but the
labels is known to the model that answers with a baseline; see docs/baseline.md. The actor after the one left out validates, and with
`refit` the model then learns from both parts.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.repository import HOME
from vfer import env, files, params
from vfer.cli import console
from vfer.compare.relative import relative
from vfer.data.readers.ravdess import EMOTIONS
from vfer.data.split import SplitRow
from vfer.errors import DataError
from vfer.evaluate.scores import score
from vfer.features import Embeddings
from vfer.lstm.baseline import Mode
from vfer.lstm.params import LstmParams

RATE = 29.97
CONFIDENT = 0.8
"""The confidence below which a frame of OpenFace shows no face; files without the column are taken whole."""


class Baseline(StrEnum):
    """Values of `lstm.baseline`."""

    none = "none"
    subject = "subject"
    neutral = "neutral"
    iterative = "iterative"


def main(
    archive: Annotated[Path, typer.Argument(help="The archive, a ZIP file.")],
    seeds: Annotated[int, typer.Option(min=0, help="Trainings of the sequence model in each fold; 0 leaves it out.")] = 2,
    modes: Annotated[list[Baseline], typer.Option("--mode", help="What to measure; by default everything.")] = list(Baseline),  # noqa: B006
    config: Annotated[Path, typer.Option("--params", help="The params file, whose section lstm says how to train.")] = HOME / "params.yaml",
    sets: Annotated[list[str], typer.Option("--set", help="A param of that section to replace, such as epochs=60.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="The results, a JSON file.")] = HOME / "benchmarks/action_units.json",
) -> None:
    """Train a model a fold, seed and mode, and write the figures over all clips, each of which is tested once a seed."""
    given = {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in sets)}
    chosen = LstmParams.model_validate(params.load(config, "lstm", LstmParams).model_dump() | given)
    with console.Stage("action_units") as stage:
        clips = dict(read(archive))
        actors = sorted({row.subject for row, _ in clips.values()})
        folds = [split([row for row, _ in clips.values()], actors, number) for number in range(len(actors))]
        embeddings = {name: values for name, (_, values) in clips.items()}
        names = sorted({row.expression for row, _ in clips.values()})
        env.prepare_tensorflow()
        figures: dict[str, Any] = {}
        for mode in [one.value for one in modes]:
            figures[mode] = {"mean, logistic regression": of_means(folds, embeddings, names, mode, chosen)}
            if seeds:
                how = chosen.model_copy(update={"baseline": mode})
                figures[mode][chosen.architecture] = sequence_model(folds, embeddings, names, how, seeds)
            console.console.print(f"{mode}: {figures[mode]}", markup=False)
        files.write_json(out, {"settings": chosen.model_dump() | {"seeds": seeds}, "facts": machine.facts(), "figures": figures})
        stage.summary = f"{len(clips)} clips of {len(actors)} actors -> {out}"


def read(archive: Path) -> Iterator[tuple[str, tuple[SplitRow, Embeddings]]]:
    """Yield the clips of an archive by name; those of one performance, with sound and without, are one recording."""
    with zipfile.ZipFile(archive) as source:
        for name in sorted(name for name in source.namelist() if name.endswith(".csv")):
            code = PurePosixPath(name).stem.split("-")
            subject = f"ravdess/{code[6]}"
            row = SplitRow(name, EMOTIONS[int(code[2]) - 1], subject, f"{subject}/{'-'.join(code[2:6])}", "ravdess", "")
            yield name, (row, table(name, source.read(name).decode("utf-8-sig")))


def table(name: str, text: str) -> Embeddings:
    """Return the intensities and presences of a clip's action units, and the times of its frames."""
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.partition("\n")[0] else ",", skipinitialspace=True)
    columns = {column.strip(): column for column in reader.fieldnames or ()}
    units = sorted(column for column in columns if column.startswith("AU"))
    if not units:
        raise DataError(f"{name}: has no column of an action unit, such as AU01_r; give OpenFace's CSV files")
    rows = [{key: row[column] or "nan" for key, column in columns.items()} for row in reader]
    values = np.array([[float(row[unit]) for unit in units] for row in rows], np.float32)
    time = np.array([float(row["timestamp"]) if "timestamp" in row else number / RATE for number, row in enumerate(rows)])
    seen = np.array([float(row.get("success", 1)) > 0 and float(row.get("confidence", 1)) >= CONFIDENT for row in rows], bool)
    kept = seen & np.isfinite(values).all(axis=1)
    return Embeddings(values[kept], time[kept])


def split(rows: list[SplitRow], actors: list[str], number: int) -> list[SplitRow]:
    """Return the rows with their parts, where one actor tests, and the next one validates."""
    part_of = dict.fromkeys(actors, "train") | {actors[(number + 1) % len(actors)]: "validation", actors[number]: "test"}
    return [SplitRow(row.clip, row.expression, row.subject, row.recording, row.source, part_of[row.subject]) for row in rows]


def sequence_model(
    folds: list[list[SplitRow]], embeddings: dict[str, Embeddings], names: list[str], chosen: LstmParams, seeds: int
) -> dict[str, float]:
    """Return the scores of the pipeline's sequence model, answering as its baseline says."""
    with console.hushed():
        import keras

        from vfer.lstm import people
        from vfer.lstm.learn import KerasNetwork, learn
        from vfer.lstm.settings import settings_of

    truth, answers = [], []
    for rows in folds:
        for seed in range(seeds):
            keras.backend.clear_session()
            learned = learn(rows, names, embeddings, chosen, seed, None, lambda *_: None)
            network = KerasNetwork(learned.model, names, learned.metadata)
            tested, probabilities = people.answers(network, rows, embeddings, settings_of(network), "test")
            truth += [names.index(row.expression) for row in tested]
            answers += probabilities.argmax(axis=1).tolist()
    return scores(np.array(truth), np.array(answers), names)


def of_means(
    folds: list[list[SplitRow]], embeddings: dict[str, Embeddings], names: list[str], mode: Mode, chosen: LstmParams
) -> dict[str, float]:
    """Return the scores of a logistic regression on the clips' mean action units."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth, answers = [], []
    for fold in folds:
        rows, moved = relative(fold, embeddings, mode, chosen.neutral, chosen.neutral_clips)
        tested = [row for row in rows if row.part == "test"]
        learned = [row for row in rows if row.part != "test"]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(_means(learned, moved), [row.expression for row in learned])
        truth += [names.index(row.expression) for row in tested]
        answers += [names.index(str(answer)) for answer in model.predict(_means(tested, moved))]
    return scores(np.array(truth), np.array(answers), names)


def _means(rows: list[SplitRow], clips: dict[str, Embeddings]) -> NDArray[np.float32]:
    return np.stack([clips[row.clip].values.mean(axis=0) for row in rows])


def scores(truth: NDArray[np.int64], answers: NDArray[np.int64], names: list[str]) -> dict[str, float]:
    """Return accuracy and UAR."""
    made = score(truth, answers, len(names))
    return {"accuracy": round(made.accuracy, 4), "uar": round(made.uar, 4)}


if __name__ == "__main__":
    console.run(main)
