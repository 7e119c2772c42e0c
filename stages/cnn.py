"""`cnn`: trains the CNN on stills, or takes the one that comes with vfer, and writes its predictions for held-out stills."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.fingerprint import Input, fingerprint
from vfer.cnn import data, head, predictions, shipped, teachers
from vfer.cnn.params import CnnParams
from vfer.cnn.predictions import Outputs
from vfer.data.catalogue import learned, stills
from vfer.data.catalogue.labels import LabelsParams
from vfer.nets import reference
from vfer.nets.scores import score
from vfer.nets.session import Session
from vfer.register import live, project

CODE = ("vfer.cnn.train", "vfer.nets.export")


def main(
    table: Annotated[Path, typer.Option("--data", help="The stills, a Parquet file.")],
    start: Annotated[Path, typer.Option(help="Folder of the weights that the backbone begins with, where `pretrain` made any.")],
    weights: Annotated[Path, typer.Option(help="Folder whose `teachers` hold networks to learn from.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the model, its history, its predictions and its metrics.")],
) -> None:
    """Train on the stills of usage train, stop early on validation, and score test once."""
    params_ = params.load(config, "cnn", CnnParams)
    labels = params.load(config, "labels", LabelsParams)
    with console.Stage("cnn") as stage:
        if reason := params.unneeded(config):
            summary = skip(out, reason)
        elif params_.weights == "shipped":
            ignored = "the other params of cnn" + (" and the weights of pretrain" * any(start.glob("*.keras")))
            console.warn(f"cnn.weights is shipped: {ignored} are ignored")
            summary = take(table, labels, out)
        else:
            name = project.name(config, env.repository() or HOME)
            summary = train(table, start, weights, labels, params_, params.seed(config), out, name)
        stage.summary = f"{summary} -> {out}"


def train(table: Path, start: Path, weights: Path, labels: LabelsParams, params_: CnnParams, seed: int, out: Path, name: str) -> str:
    """Train the network, in an MLflow run of the project of that name, and return what was made."""
    read = stills.read(table)
    loaded = data.load(read, labels, table, votes=params_.votes > 0, drop_duplicates=params_.drop_duplicates)
    if params_.head != "label":
        loaded.columns()  # refuses before the training
    guides = teachers.find(weights) if params_.distillation else []
    env.prepare_tensorflow(params_.precision, separable=params_.separable)
    with console.hushed():
        from vfer.cnn import train, transfer
        from vfer.nets import export

    backbone = transfer.weights_in(start)
    settings = params_.model_dump() | {"seed": seed, "classes": loaded.classes, "votes_classes": loaded.votes}
    epochs = params_.epochs + (params_.frozen_epochs if backbone else 0)
    parts = loaded.parts
    if guides:
        share = params_.distillation
        parts = parts | {"train": teachers.teach(parts["train"], guides, loaded.classes, loaded.votes, share, threads=env.workers())}
    inputs: list[Input] = [backbone] if backbone else []
    for part in (parts["train"], parts["validation"]):
        inputs += [part.pixels, part.labels, part.targets, part.votes]
    key = fingerprint(settings, code=[*CODE, *params_.modules], inputs=inputs)
    root = env.repository() or HOME
    with console.epochs("cnn", epochs) as show, live.training(root, "cnn", settings, key, name, show) as training:
        model, fit = train.train(parts, len(loaded.classes), params_, seed, training.checkpoint, training.on_epoch, backbone)
        sample = parts["validation"].pixels[:64, ..., None].astype("float32")
        model, classes, last = train.finish(model, params_, loaded)
        export.save(model, out, sample, classes)
        names = {"votes": json.dumps(loaded.votes)} if loaded.votes else {}
        outputs = run(Session(out / "model.onnx", threads=env.workers()), parts)
        everybody = reference.of_faces(outputs["validation"]["embedding"], parts["validation"].labels, loaded.classes)
        export.annotate(out / "model.onnx", {head.KEY: last.to_json(), reference.KEY: everybody.to_json()} | names)
        session = Session(out / "model.onnx")  # whose metadata are whole now
        figures = report(session, outputs, parts, loaded.classes, out) | votes_report(outputs, parts)
        training.run.log(files.flatten(figures))
    names_used = {still for part in parts.values() for still in part.names}
    examples = [example for example in learned.of_stills(read) if example.name in names_used]
    learned.write(out / learned.FILE, [*examples, *(learned.read(start / learned.FILE) if backbone else [])])
    files.write_csv(out / "history.csv", ["epoch", *fit.history[0]], fit.rows())
    counts = {"epochs": len(fit.history), "best_epoch": fit.best + 1, "duplicates": loaded.duplicates}
    files.write_json(out / "metrics.json", figures | counts)
    files.write_json(out / "run.json", {"run_id": training.run.id})
    return f"{params_.architecture} of {len(fit.history)} epochs, test accuracy {figures['test']['accuracy']:.3f}"


def take(table: Path, labels: LabelsParams, out: Path) -> str:
    """Copies the network that comes with vfer, scores it on the stills of its classes, if there are any, and returns what was made."""
    names = shipped.install(out)
    split = data.held_out(stills.read(table, empty=True), labels, names, table)
    session = Session(out / "model.onnx", threads=env.workers())
    figures = report(session, run(session, split), split, names, out)
    learned.write(out / learned.FILE, [learned.Example("still", "those of the network that comes with vfer", "train")])
    files.write_json(out / "metrics.json", figures)
    files.write_json(out / "run.json", {"run_id": ""})
    return f"the network that comes with vfer, of {', '.join(names)}" + "".join(
        f", {usage} accuracy {scores['accuracy']:.3f}" for usage, scores in figures.items()
    )


def skip(out: Path, reason: str) -> str:
    """Write outputs that hold nothing, for features that come from another tool, and return the reason."""
    for name in ("model.onnx", "model.keras"):
        files.write_bytes(out / name, reason.encode())  # DVC warns of empty files
    predictions.write(out / "predictions.parquet", [])
    learned.write(out / learned.FILE, [])
    files.write_csv(out / "history.csv", ["epoch", "accuracy"], [])
    files.write_json(out / "metrics.json", {})
    files.write_json(out / "run.json", {"run_id": ""})
    return reason


def run(session: Session, parts: dict[str, data.StillPart]) -> dict[str, Outputs]:
    """Return the outputs of the ONNX twin for the stills of each usage that was not trained on, if there are any."""
    return {usage: predictions.run(session, parts[usage]) for usage in data.HELD_OUT if len(parts[usage].labels)}


def votes_report(outputs: dict[str, Outputs], parts: dict[str, data.StillPart]) -> dict[str, Any]:
    """Return how often the vote head's answer is what most annotators voted for, by usage."""
    return {
        f"{usage}_votes": asdict(predictions.majority(values["votes"], parts[usage]))
        for usage, values in outputs.items()
        if "votes" in values and parts[usage].votes.any()
    }


def report(
    session: Session, outputs: dict[str, Outputs], parts: dict[str, data.StillPart], classes: list[str], out: Path
) -> dict[str, Any]:
    """Write the predictions and return the scores of each usage."""
    answers = {
        usage: predictions.predictions_of(values["probabilities"], usage, parts[usage], classes, session.classes)
        for usage, values in outputs.items()
    }
    predictions.write(out / "predictions.parquet", list(answers.values()))
    return {usage: asdict(score(answer.truth, answer.predicted, len(answer.classes))) for usage, answer in answers.items()}


if __name__ == "__main__":
    launch(main)
