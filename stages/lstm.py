"""`lstm`: splits the clips and trains the sequence model on their embeddings."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from stages import HOME, launch
from vfer import env, features, files, params
from vfer.cli import console
from vfer.clips.fingerprint import Input, fingerprint
from vfer.data import places, split
from vfer.data.labelled import labelled
from vfer.data.labels import LabelsParams
from vfer.data.split import PARTS, Row, SplitParams
from vfer.errors import DataError
from vfer.evaluate.scores import score
from vfer.lstm.params import LstmParams
from vfer.lstm.sequences import predict
from vfer.nets.session import Session
from vfer.register import project, tracking

if TYPE_CHECKING:
    from vfer.lstm.train import Part

CODE = ("vfer.lstm.train", "vfer.nets.export")


def main(
    cache: Annotated[Path, typer.Option("--features", help="The feature cache, a Parquet file.")],
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    placed: Annotated[Path, typer.Option("--places", help="The places that splits are dealt by, a CSV file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, the split, the history and the metrics.")],
) -> None:
    """Trains on the split's train part and stops early on validation; the test part is left to `evaluate`."""
    chosen = params.load(config, "lstm", LstmParams)
    seed = params.seed(config)
    with console.Stage("lstm") as stage:
        sequences = features.faces(cache)
        names, rows = rows_of(clips, placed, config, sequences, seed)
        env.prepare_tensorflow()
        with console.hushed():
            from vfer.lstm import train
            from vfer.nets import export

        data = {part: part_of(part, rows, names, sequences, clips) for part in ("train", "validation")}
        settings = chosen.model_dump() | {"seed": seed, "classes": names} | params.load(config, "split", SplitParams).model_dump()
        arrays: list[Input] = []
        for part in data.values():
            arrays += [part.labels, *part.sequences]
        key = fingerprint(settings, code=CODE, inputs=arrays)
        root = env.repository() or HOME
        with tracking.training(root, "lstm", settings, key, chosen.epochs, project.name(config, root)) as live:
            model, fit = train.train(data, len(names), chosen, seed, live.checkpoint, live.on_epoch)
            sample = np.asarray(train.batches(data["validation"], len(names), chosen, seed, fitted=False)[0][0], np.float32)
            export.save(model, out, sample, names)
            probabilities = predict(Session(out / "model.onnx"), data["validation"].sequences, chosen.max_frames)
            validation = asdict(score(data["validation"].labels, probabilities.argmax(axis=1), len(names)))
            live.run.log({f"validation.{name}": value for name, value in validation.items()})
        split.write(out / "split.parquet", rows)
        files.write_csv(out / "history.csv", ["epoch", *fit.history[0]], fit.rows())
        counts = Counter(row.part for row in rows)
        faceless = sum(not len(sequences[row.clip]) for row in rows)
        made = {"validation": validation, "epochs": len(fit.history), "best_epoch": fit.best + 1, "faceless": faceless}
        files.write_json(out / "metrics.json", made | {"clips": {part: counts[part] for part in PARTS}})
        files.write_json(out / "run.json", {"run_id": live.run.id})
        stage.made = f"{chosen.units} units of {len(fit.history)} epochs, validation accuracy {validation['accuracy']:.3f} -> {out}"


def rows_of(clips: Path, placed: Path, config: Path, cached: Collection[str], seed: int) -> tuple[list[str], list[Row]]:
    """Returns the classes and the split of the clips that are in the cache and show one of the classes."""
    found = labelled(clips, params.load(config, "labels", LabelsParams), cached, env.store(), env.workers())
    for reason in found.reasons:
        console.warn(reason)
    section = params.load(config, "split", SplitParams)
    known = places.read(placed)
    if unknown := sorted({clip.subject for clip in found.clips} - set(known["subject"])):
        console.warn(
            f"{placed}: lacks {len(unknown)} subjects, {unknown[0]} first; run `vfer data places`, or later additions may move them"
        )
    rows = split.split(found.clips, found.expressions, section, seed, clips, known, found.digests)
    for lacking in split.absent(rows):
        console.warn(lacking)
    return found.classes, rows


def part_of(part: str, rows: list[Row], names: list[str], sequences: "dict[str, np.typing.NDArray[np.float32]]", where: Path) -> "Part":
    """Returns the clips of a part that show a face; clips without one cannot be learned from, but `evaluate` scores them."""
    from vfer.lstm.train import Part

    chosen = [row for row in rows if row.part == part and len(sequences[row.clip])]
    if not chosen:
        raise DataError(f"{where}: no clip of the part {part} shows a face; look at outputs/faces/refused.csv")
    if part == "train" and len(shown := {row.expression for row in chosen}) < 2:
        raise DataError(f"{where}: all clips to train on show {shown.pop()}; lower split.folds, choose another fold, or add clips")
    return Part([sequences[row.clip] for row in chosen], np.array([names.index(row.expression) for row in chosen]))


if __name__ == "__main__":
    launch(main)
