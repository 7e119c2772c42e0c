"""`lstm`: splits the clips and trains the sequence model on their embeddings."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.fingerprint import Input, fingerprint
from vfer.data.catalogue import manifest, split
from vfer.data.catalogue.labelled import split_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.catalogue.split import PARTS, SplitParams, SplitRow
from vfer.errors import DataError
from vfer.features import cache
from vfer.features.cache import Embeddings
from vfer.lstm import people
from vfer.lstm.params import LstmParams
from vfer.register import live, project

CODE = ("vfer.lstm.learn", "vfer.nets.export")


def main(
    features: Annotated[Path, typer.Option(help="The feature cache, a Parquet file.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the model, the split, the history and the metrics.")],
) -> None:
    """Train on the split's train part, and stop early on validation; the test part is left to `evaluate`."""
    section = params.load(config, "lstm", LstmParams)
    seed = params.seed(config)
    with console.Stage("lstm") as stage:
        embeddings = cache.embeddings(features)
        labels, dealt = params.load(config, "labels", LabelsParams), params.load(config, "split", SplitParams)
        dataset = split_clips(data, labels, dealt, seed, embeddings, env.store(), env.workers())
        for warning in dataset.warnings:
            console.warn(warning)
        names, rows = dataset.classes, dataset.rows
        check(rows, embeddings, section, data / manifest.FILE)
        env.prepare_tensorflow()
        with console.hushed():
            from vfer.lstm.learn import learn
            from vfer.nets import export

        settings = section.model_dump() | {"seed": seed, "classes": names} | dealt.model_dump()
        key = fingerprint(settings, code=CODE, inputs=inputs(rows, embeddings))
        root = env.repository() or HOME
        name = project.name(config, root)
        with console.epochs("lstm", section.epochs) as show, live.training(root, "lstm", settings, key, name, show) as training:
            model = learn(rows, names, embeddings, section, seed, training.checkpoint, training.on_epoch)
            export.save(model.model, out, model.sample, names)
            export.annotate(out / "model.onnx", model.metadata)
            training.run.log(files.flatten(model.figures))
        split.write(out / "split.parquet", rows)
        files.write_csv(out / "history.csv", ["epoch", *model.fit.history[0]], model.fit.rows())
        counts = Counter(row.part for row in rows)
        faceless = sum(not len(embeddings[row.clip]) for row in rows)
        course = {"epochs": len(model.fit.history), "best_epoch": model.fit.best + 1, "faceless": faceless}
        files.write_json(out / "metrics.json", model.figures | course | {"clips": {part: counts[part] for part in PARTS}})
        files.write_json(out / "run.json", {"run_id": training.run.id})
        description = f"{section.architecture} of {section.units} units, {course['epochs']} epochs"
        stage.summary = f"{description}, validation accuracy {model.figures['validation']['accuracy']:.3f} -> {out}"


def inputs(rows: list[SplitRow], embeddings: Mapping[str, Embeddings]) -> list[Input]:
    """Return what a training reads of the clips to train and validate on; those to test decide nothing."""
    learned_from = [row for row in rows if row.part != "test"]
    arrays: list[Input] = []
    for row in learned_from:
        described = "\0".join((row.part, row.expression, row.subject, row.recording))
        arrays += [described, embeddings[row.clip].values, embeddings[row.clip].time]
    return arrays


def check(rows: list[SplitRow], embeddings: Mapping[str, Embeddings], section: LstmParams, where: Path) -> None:
    """Warn of what is odd about the clips; raises `DataError` where they cannot be learned from.

    Clips without a face are no help to the training, but `evaluate` scores them.
    """
    for part in ("train", "validation"):
        expressions = {row.expression for row in rows if row.part == part and len(embeddings[row.clip])}
        if not expressions:
            raise DataError(f"{where}: no clip of the part {part} shows a face; see refused.csv in outputs/faces and outputs/features")
        if part == "train" and len(expressions) < 2:
            only = expressions.pop()
            raise DataError(f"{where}: all clips to train on show {only}; lower split.folds, choose another fold, or add clips")
    for row in rows:
        if len(embeddings[row.clip]) > 1 and np.diff(embeddings[row.clip].time).min() <= 0:
            raise DataError(f"{row.clip}: its frames are not in the order of their time; run `dvc repro frames`")
    for warning in people.check(rows, section.baseline, section.neutral, where):
        console.warn(warning)


if __name__ == "__main__":
    launch(main)
