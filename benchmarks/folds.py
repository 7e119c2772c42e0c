"""The pipeline's sequence model over all folds of the split: as it is, and relative to each person's own baseline.

    dvc repro features
    python -m benchmarks.folds --mode none --mode subject --seeds 2 --set epochs=60 --set refit=true

It learns and answers as `lstm` and `evaluate` do, from the features of the last run and by the sections labels, split and lstm of
params.yaml. A mode is a value of `lstm.baseline`, and a protocol of its own: see docs/baseline.md. The figures on validation are what
to choose settings by; the test clips are for the chosen ones.
"""

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from benchmarks import machine
from benchmarks.repository import HOME
from vfer import env, files, params
from vfer.cli import console
from vfer.cnn.params import TuneParams
from vfer.data.catalogue import places, split
from vfer.data.catalogue.labelled import labelled_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.catalogue.split import SplitParams, SplitRow
from vfer.errors import DataError
from vfer.features import cache
from vfer.features.cache import Embeddings
from vfer.lstm.params import LstmParams
from vfer.nets.scores import score


class Baseline(StrEnum):
    """Values of `lstm.baseline`."""

    none = "none"
    subject = "subject"
    neutral = "neutral"
    iterative = "iterative"


def main(
    modes: Annotated[list[Baseline], typer.Option("--mode", help="What to measure; by default everything.")] = list(Baseline),  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Trainings in each fold.")] = 2,
    sets: Annotated[list[str], typer.Option("--set", help="A param of the section lstm to replace, such as epochs=60.")] = [],  # noqa: B006
    root: Annotated[Path, typer.Option(help="The repository.")] = HOME,
    out: Annotated[Path, typer.Option(help="The results, a JSON file.")] = HOME / "outputs/folds.json",
) -> None:
    """Train a model a fold, seed and mode, and write the scores over all clips, each of which is tested once a seed."""
    config = root / "params.yaml"
    changes = {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in sets)}
    settings = LstmParams.model_validate(params.load(config, "lstm", LstmParams).model_dump() | changes)
    if TuneParams.load(config).epochs:
        raise DataError(f"{config}: tune.epochs: the features are those of a CNN that learned from other folds; use `make compare`")
    with console.Stage("folds") as stage:
        embeddings = cache.embeddings(root / "outputs" / "features" / "features.parquet")
        names, folds = folds_of(root, config, embeddings)
        env.prepare_tensorflow()
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of a new graph each fold
        figures: dict[str, Any] = {}
        for mode in [one.value for one in modes]:
            how = settings.model_copy(update={"baseline": mode})
            figures[mode] = [measure(folds, embeddings, names, how, params.seed(config) + seed) for seed in range(seeds)]
            mean = {name: round(float(np.mean([one[name] for one in figures[mode]])), 4) for name in figures[mode][0]}
            console.console.print(f"{mode}: {mean}, over {seeds} seeds {[one['accuracy'] for one in figures[mode]]}", markup=False)
        files.write_json(out, {"settings": settings.model_dump(), "facts": machine.facts(), "figures": figures})
        stage.summary = f"{len(folds)} folds of {len(folds[0])} clips -> {out}"


def folds_of(root: Path, config: Path, embeddings: dict[str, Embeddings]) -> tuple[list[str], list[list[SplitRow]]]:
    """Return the classes, and the split of each fold as the stage `lstm` makes it."""
    known, seed = places.read(root / "data" / places.FILE), params.seed(config)
    data = labelled_clips(root / "data", params.load(config, "labels", LabelsParams), embeddings, None, env.workers())
    section = params.load(config, "split", SplitParams)
    folds = [section.model_copy(update={"fold": number}) for number in split.fold_numbers(data.clips, section, known)]
    return data.classes, [data.split(fold, seed, known) for fold in folds]


def measure(
    folds: list[list[SplitRow]], embeddings: dict[str, Embeddings], names: list[str], settings: LstmParams, seed: int
) -> dict[str, float]:
    """Return accuracy and UAR over the test clips of all folds, and the mean accuracy on validation."""
    with console.hushed():
        import keras

        from vfer.lstm import people
        from vfer.lstm.learn import KerasNetwork, learn
        from vfer.lstm.settings import settings_of

    truth, answers, validation = [], [], []
    for rows in folds:
        keras.backend.clear_session()
        training = learn(rows, names, embeddings, settings, seed, None, lambda *_: None)
        network = KerasNetwork(training.model, names, training.metadata)
        test_rows, probabilities = people.answers(network, rows, embeddings, settings_of(network), "test")
        truth += [names.index(row.expression) for row in test_rows]
        answers += probabilities.argmax(axis=1).tolist()
        key = "validation" if settings.baseline == "none" else "validation_baseline"
        validation.append(training.figures[key]["accuracy"])
    scores = score(np.array(truth), np.array(answers), len(names))
    return {"accuracy": round(scores.accuracy, 4), "uar": round(scores.uar, 4), "validation": round(float(np.mean(validation)), 4)}


if __name__ == "__main__":
    console.run(main)
