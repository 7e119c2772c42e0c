"""Trains the CNN by one recipe, in a process of its own, for `benchmarks.ablation`, and prints what came out as one line of JSON."""

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa

from benchmarks.answers import answers
from vfer import env
from vfer.cli import console
from vfer.cnn import data
from vfer.cnn.params import CnnParams
from vfer.data import stills
from vfer.data.labels import LabelsParams
from vfer.evaluate.scores import score
from vfer.nets.session import Session

CHOICE = 0
"""Seed of the choice of stills, which is the same for every recipe."""


def main(table: str, chosen: str, seed: str, share: str) -> None:
    """Prints the figures; the progress goes to standard error."""
    figures = trained(stills.read(Path(table)), Path(table), CnnParams.model_validate_json(chosen), int(seed), float(share))
    sys.stdout.write(json.dumps(figures) + "\n")


def trained(table: pa.Table, where: Path, chosen: CnnParams, seed: int, share: float) -> dict[str, float]:
    """Trains on a share of the training stills and returns the figures of the validation stills; test is not looked at.

    `seconds` are those of the training, its validation after each epoch included.
    """
    names, split, _ = data.parts(
        part_of(table, share),
        LabelsParams(stills="all", clips="all"),
        where,
        distributions=chosen.distributions,
        drop_duplicates=chosen.drop_duplicates,
    )
    env.prepare_tensorflow(chosen.precision)
    with console.hushed():
        from vfer.cnn import train
        from vfer.nets import export
    validation = split["validation"]
    start = perf_counter()
    model, fit = train.train(split, len(names), chosen, seed, None, lambda epoch, logs: _tell(chosen.epochs, epoch, logs))
    seconds = perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export.save_onnx(model, path, validation.pixels[:64, ..., None].astype(np.float32), names)
        said = answers(Session(path, threads=env.workers()), "validation", validation)
    scores = {name: score(answer.truth, answer.predicted, len(names)) for name, answer in said.items()}
    return {
        "stills": len(split["train"].labels),
        "accuracy": scores["plain"].accuracy,
        "flip_accuracy": scores["flip_average"].accuracy,
        "uar": scores["plain"].uar,
        "training_accuracy": fit.history[-1]["accuracy"],
        "best_epoch": fit.best + 1,
        "seconds": seconds,
        "images_a_second": len(split["train"].labels) * len(fit.history) / seconds,
    }


def part_of(table: pa.Table, share: float) -> pa.Table:
    """Returns the stills with a share of those to train on, the same share of each expression."""
    rng = np.random.default_rng(CHOICE)
    expressions, usages = (np.array(table[name].to_pylist(), np.str_) for name in ("expression", "usage"))
    kept = usages != "train"
    for expression in np.unique(expressions):
        rows = np.flatnonzero((expressions == expression) & (usages == "train"))
        kept[rng.permutation(rows)[: round(share * len(rows))]] = True
    return table.filter(pa.array(kept))


def _tell(epochs: int, epoch: int, logs: dict[str, float]) -> None:
    sys.stderr.write(f"  epoch {epoch + 1} of {epochs}: {logs['accuracy']:.3f} of train, {logs['val_accuracy']:.3f} of validation\n")


if __name__ == "__main__":
    console.run(main)
