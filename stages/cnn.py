"""Trains the CNN on stills; writes the Keras model, its ONNX twin, the history and the metrics."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stages import HOME
from vfer import artifacts, console, env, params, stills, tracking
from vfer.cnn.data import parts
from vfer.cnn.params import CnnParams
from vfer.labels import LabelsParams
from vfer.session import Session


def main(
    data: Annotated[Path, typer.Option(help="The stills, a Parquet file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its history and its metrics.")],
) -> None:
    """Trains on the stills of usage train, stops early on validation, and scores test once."""
    chosen = params.load(config, "cnn", CnnParams)
    labels = params.load(config, "labels", LabelsParams)
    seed = params.seed(config)
    with console.Stage("cnn") as stage:
        names, split = parts(stills.read(data), labels, data)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if chosen.precision == "float32":
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN crashes in float32 convolutions of TensorFlow 2.21
        with console.hushed():
            from vfer import export
            from vfer.cnn import train

        settings = chosen.model_dump() | {"seed": seed, "classes": names}
        key = tracking.key(settings, data)
        with tracking.training(env.repository() or HOME, "cnn", settings, key, chosen.epochs) as live:
            model, fit = train.train(split, len(names), chosen, seed, live.checkpoint, live.on_epoch)
            export.save(model, out, split["validation"].pixels[:64, ..., None].astype("float32"), names)
            session = Session(out / "model.onnx", threads=env.workers())
            figures = {usage: asdict(train.test(session, split[usage], len(names))) for usage in ("validation", "test")}
            live.run.log({f"{usage}.{name}": value for usage, scores in figures.items() for name, value in scores.items()})
        artifacts.write_csv(out / "history.csv", ["epoch", *fit.history[0]], fit.rows())
        artifacts.write_json(out / "metrics.json", figures | {"epochs": len(fit.history), "best_epoch": fit.best + 1})
        artifacts.write_json(out / "run.json", {"run_id": live.run.id})
        stage.made = f"{chosen.architecture} of {len(fit.history)} epochs, test accuracy {figures['test']['accuracy']:.3f} -> {out}"


if __name__ == "__main__":
    console.run(main)
