"""`cnn`: trains the CNN on stills, or takes the one that comes with vfer, and writes down what it says of other stills."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from stages import HOME
from vfer import env, files, params
from vfer.cli import console
from vfer.cnn import data, head, predictions, shipped
from vfer.cnn.params import CnnParams
from vfer.cnn.predictions import Predictions
from vfer.data import stills
from vfer.data.labels import LabelsParams
from vfer.evaluate.scores import score
from vfer.lstm import baseline
from vfer.nets.session import Session
from vfer.register import tracking

BATCH = 256
NEUTRAL = "neutral"


def main(
    table: Annotated[Path, typer.Option("--data", help="The stills, a Parquet file.")],
    start: Annotated[Path, typer.Option(help="Folder of the weights that the backbone begins with, where `pretrain` made any.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its history, its predictions and its metrics.")],
) -> None:
    """Trains on the stills of usage train, stops early on validation, and scores test once."""
    chosen = params.load(config, "cnn", CnnParams)
    labels = params.load(config, "labels", LabelsParams)
    with console.Stage("cnn") as stage:
        ready = chosen.weights == "shipped"
        made = take(table, labels, out) if ready else train(table, start, labels, chosen, params.seed(config), out)
        stage.made = f"{made} -> {out}"


def train(table: Path, start: Path, labels: LabelsParams, chosen: CnnParams, seed: int, out: Path) -> str:
    """Trains the network and returns what was made."""
    names, split, counts = data.parts(
        stills.read(table), labels, table, distributions=chosen.distributions, drop_duplicates=chosen.drop_duplicates
    )
    env.prepare_tensorflow(chosen.precision)
    with console.hushed():
        from vfer.cnn import model as cnn_model
        from vfer.cnn import train, transfer
        from vfer.nets import export

    begun = transfer.found(start)
    settings = chosen.model_dump() | {"seed": seed, "classes": names}
    key = tracking.key(settings, table, *([begun] if begun else []))
    epochs = chosen.epochs + (chosen.frozen_epochs if begun else 0)
    with tracking.training(env.repository() or HOME, "cnn", settings, key, epochs) as live:
        model, fit = train.train(split, len(names), chosen, seed, live.checkpoint, live.on_epoch, begun)
        export.save(model, out, split["validation"].pixels[:64, ..., None].astype("float32"), names)
        export.annotate(out / "model.onnx", zero_shot(out / "model.onnx", cnn_model.head(model), split["validation"], names))
        figures = report(predict(Session(out / "model.onnx", threads=env.workers()), split), out)
        live.run.log(files.flatten(figures))
    files.write_csv(out / "history.csv", ["epoch", *fit.history[0]], fit.rows())
    files.write_json(out / "metrics.json", figures | {"epochs": len(fit.history), "best_epoch": fit.best + 1, "duplicates": counts})
    files.write_json(out / "run.json", {"run_id": live.run.id})
    return f"{chosen.architecture} of {len(fit.history)} epochs, test accuracy {figures['test']['accuracy']:.3f}"


def take(table: Path, labels: LabelsParams, out: Path) -> str:
    """Copies the network that comes with vfer, scores it on the stills of its classes, if there are any, and returns what was made."""
    names = shipped.install(out)
    split = data.held_out(stills.read(table, empty=True), labels, names, table)
    figures = report(predict(Session(out / "model.onnx", threads=env.workers()), split), out)
    files.write_json(out / "metrics.json", figures)
    files.write_json(out / "run.json", {"run_id": ""})
    return f"the network that comes with vfer, of {', '.join(names)}" + "".join(
        f", {usage} accuracy {scores['accuracy']:.3f}" for usage, scores in figures.items()
    )


def zero_shot(model: Path, last: tuple[NDArray[np.float32], NDArray[np.float32]], part: data.Part, names: list[str]) -> dict[str, str]:
    """Returns what the ONNX file must hold to answer relative to a person's own baseline without a sequence model.

    That is the CNN's last layer, and where everybody's embeddings lie: on the stills of `part`, each class weighed alike.
    """
    session = Session(model, threads=env.workers())
    crops = part.pixels[..., np.newaxis]
    embeddings = np.concatenate([session(crops[at : at + BATCH])["embedding"] for at in range(0, len(crops), BATCH)])
    by_class = [embeddings[part.labels == number] for number in range(len(names))]
    neutral = [by_class[names.index(NEUTRAL)]] if NEUTRAL in names else []
    reference = baseline.everybody([baseline.statistics(by_class)], [baseline.statistics(neutral)])
    return {head.KEY: head.Head(*last).to_json(), baseline.KEY: reference.to_json()}


def predict(session: Session, split: dict[str, data.Part]) -> dict[str, Predictions]:
    """Returns what the ONNX twin says of the stills of each usage that was not trained on."""
    parts = {usage: split[usage] for usage in data.HELD_OUT if len(split[usage].labels)}
    return {usage: predictions.predict(session, usage, part) for usage, part in parts.items()}


def report(said: dict[str, Predictions], out: Path) -> dict[str, Any]:
    """Writes the predictions and returns the scores of each usage."""
    predictions.write(out / "predictions.parquet", list(said.values()))
    return {usage: asdict(score(part.truth, part.predicted, len(part.classes))) for usage, part in said.items()}


if __name__ == "__main__":
    console.run(main)
