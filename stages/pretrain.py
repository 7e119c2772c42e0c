"""`pretrain`: trains the CNN's backbone on whose face it sees, or takes given weights; does nothing unless it is turned on."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.fingerprint import fingerprint
from vfer.clips.store import ClipRunner, Recipe, Store, recipe
from vfer.cnn.params import CnnParams
from vfer.data.catalogue import learned, stills
from vfer.data.catalogue.learned import Example
from vfer.data.catalogue.manifest import full_name
from vfer.errors import ClipError, DataError, ParamsError
from vfer.faces import weights
from vfer.faces.params import FacesParams
from vfer.pretrain import identities, subjects
from vfer.pretrain.identities import CollectedFaces, Row
from vfer.pretrain.params import PretrainParams
from vfer.pretrain.subjects import SubjectJob, SubjectsWorker
from vfer.register import live, project

TRAINING = ("vfer.pretrain.train", "vfer.nets.export")
CODE = ("vfer.pretrain.subjects", "vfer.faces.weights")
FACERES = "faceres-deep.json"
CALIBRATING = 1536  # stills over which the statistics of its batch normalisations are taken
HISTORY = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]


@dataclass
class PretrainResult:
    """What the stage tells of its work: what the weights are, the figures, the course of the training, and the closing line."""

    about: Mapping[str, object]
    line: str
    examples: list[Example] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    run_id: str = ""


def main(
    source: Annotated[Path, typer.Option("--identities", help=f"The faces, or the weights: {identities.KINDS}.")],
    weights_: Annotated[Path, typer.Option("--weights", help="Folder of the detector's weights.")],
    stills_: Annotated[Path, typer.Option("--stills", help="The stills, a Parquet file.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the weights, the history and the metrics.")],
) -> None:
    """Write the backbone's weights, where there are any, and always what they are, the metrics and the pictures set aside."""
    section = params.load(config, "pretrain", PretrainParams)
    reason = params.unneeded(config)
    with console.Stage("pretrain") as stage:
        shutil.rmtree(out / "weights", ignore_errors=True)
        files.Refusals({}, "picture").write(out / "refused.csv")
        if not section.enabled:
            result = PretrainResult({"weights": "none"}, "is off (pretrain.enabled), so the CNN starts from random weights")
        elif reason:
            result = PretrainResult({"weights": "none"}, reason)
        elif (source / FACERES).is_file():
            result = convert(source / FACERES, stills_, config, out / "weights")
        elif source.suffix == ".keras":
            result = take(source, config, out / "weights")
        else:
            result = train(source, weights_, config, out)
        files.write_json(out / "weights" / "weights.json", result.about)
        if result.examples:
            learned.write(out / "weights" / learned.FILE, result.examples)
        files.write_csv(out / "history.csv", HISTORY, result.history)
        files.write_json(out / "metrics.json", {"weights": result.about["weights"], **result.figures})
        files.write_json(out / "run.json", {"run_id": result.run_id})
        stage.summary = result.line


def take(source: Path, config: Path, folder: Path) -> PretrainResult:
    """Pass the backbone of a Keras model on; raise `WeightsError` if it is of another architecture."""
    cnn = params.load(config, "cnn", CnnParams)
    env.prepare_tensorflow(cnn.precision, separable=cnn.separable)
    with console.hushed():
        from vfer.cnn import transfer
        from vfer.nets import export
        from vfer.pretrain.train import load_backbone

    net = load_backbone(source, cnn.architecture)
    folder.mkdir(parents=True)
    export.save_keras(net, folder / transfer.BACKBONE)
    about = {"weights": "given", "architecture": cnn.architecture, "file": str(source), "sha256": digest(source)}
    return PretrainResult(about, f"{cnn.architecture} of {source} -> {folder}", [Example("identity", str(source), "train")])


def convert(source: Path, table: Path, config: Path, folder: Path) -> PretrainResult:
    """Turn faceres-deep into the weights of a `mobilenet`; raise `ParamsError` if the CNN is another one."""
    cnn = params.load(config, "cnn", CnnParams)
    if cnn.architecture != "mobilenet":
        raise ParamsError(f"{config}: cnn.architecture: {source} holds a mobilenet, got {cnn.architecture!r}")
    rows = stills.read(table)
    sample = rows.take(np.linspace(0, rows.num_rows - 1, min(CALIBRATING, rows.num_rows)).round().astype(int))
    env.prepare_tensorflow("float32", separable=False)
    with console.hushed():
        from vfer.cnn import transfer
        from vfer.nets import export
        from vfer.pretrain.faceres import convert as converted

    folder.mkdir(parents=True)
    export.save_keras(converted(source, stills.decode(sample, str(table))), folder / transfer.BACKBONE)
    about = {"weights": "converted", "architecture": cnn.architecture, "file": str(source), "sha256": digest(source.parent)}
    return PretrainResult(about, f"{cnn.architecture} of {source} -> {folder}", [Example("identity", str(source), "train")])


def train(source: Path, detector: Path, config: Path, out: Path) -> PretrainResult:
    """Train on the faces of a Parquet file or a folder, in its own MLflow run."""
    section = params.load(config, "pretrain", PretrainParams)
    cnn = params.load(config, "cnn", CnnParams)
    seed = params.seed(config)
    settings = section.model_dump() | {"seed": seed, "architecture": cnn.architecture, "precision": cnn.precision}
    collected, figures, digests = collect(source, detector, config, out)
    refusals = files.Refusals(collected.refusals, "picture")
    refusals.write(out / "refused.csv")
    remedy = "fix or remove them, or raise pretrain.max_bad"
    refusals.check(collected.pictures, section.max_bad, "pretrain.max_bad", "show no face or cannot be decoded", remedy)
    faces = identities.choose(collected, section.min_faces, section.validation, seed, source)
    env.prepare_tensorflow(cnn.precision, separable=cnn.separable)
    with console.hushed():
        from vfer.cnn import transfer
        from vfer.nets import export
        from vfer.pretrain import train

    key = fingerprint(settings, code=[*TRAINING, *cnn.modules], inputs=[*digests, faces.rows, faces.labels, faces.held_out])
    root = env.repository() or HOME
    name = project.name(config, root)
    with console.epochs("pretrain", section.epochs) as show, live.training(root, "pretrain", settings, key, name, show) as training:
        net, fit, auc = train.train(faces, cnn.architecture, cnn.precision, section, seed, training.checkpoint, training.on_epoch)
        (out / "weights").mkdir(parents=True)
        export.save_keras(net, out / "weights" / transfer.BACKBONE)
        validation_figures = {"identification": fit.history[fit.best]["val_accuracy"], "verification_auc": auc}
        training.run.log(validation_figures)
    figures |= {
        "subjects": faces.subjects,
        "faces": len(faces.rows),
        "held_out": int(faces.held_out.sum()),
        "set_aside": len(collected.refusals),
    }
    figures |= {
        "few": len(collected.subjects) - len(faces.rows),
        **validation_figures,
        "epochs": len(fit.history),
        "best_epoch": fit.best + 1,
    }
    about = {"weights": "trained", "architecture": cnn.architecture, "identities": str(source)}
    line = (
        f"{cnn.architecture} of {len(fit.history)} epochs on {len(faces.rows)} faces of {faces.subjects} subjects, held out: "
        f"identification {validation_figures['identification']:.3f}, verification AUC {auc:.3f} -> {out}"
    )
    examples = [Example("identity", name, "train", full_name(source.stem, name)) for name in faces.names]
    return PretrainResult(
        {**about, "subjects": faces.subjects, "faces": len(faces.rows)}, line, examples, figures, fit.rows(), training.run.id
    )


def collect(source: Path, detector: Path, config: Path, out: Path) -> tuple[CollectedFaces, dict[str, object], list[str]]:
    """Return the faces, the figures of where they come from, and the digests of the files that hold them."""
    if not source.is_dir():
        collected, unnamed = identities.read(source, out)
        return collected, {"unnamed": unnamed}, [digest(source)]
    section = params.load(config, "faces", FacesParams)
    choice = weights.choose(section, detector)
    choice.check()
    console.console.print(f"pretrain: detector {choice.name} {choice.sha256[:12]}, since {choice.why}", markup=False)
    tables = out / "subjects"
    shutil.rmtree(tables, ignore_errors=True)
    jobs = list_jobs(source, tables)
    runner: ClipRunner[SubjectJob] = ClipRunner(
        Store(env.store()), recipe_of(choice, section), env.workers(), log=out / "errors.log", seconds=None
    )
    failures = run_jobs(jobs, runner, choice, section)
    console.console.print(f"pretrain: {len(jobs)} subjects{runner.note}", markup=False)
    most = sum(subjects.count(job.target) for job in jobs if job.clip not in failures)
    collected = identities.collect(rows(jobs, failures), most, out)
    digests = [digest(job.target) for job in jobs if job.clip not in failures]
    shutil.rmtree(tables)
    return collected, {"detector": choice.name, "detector_sha256": choice.sha256}, digests


def list_jobs(source: Path, tables: Path) -> list[SubjectJob]:
    """Return one job per folder with pictures, sorted; raise `DataError` if there is none."""
    folders = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    jobs = [SubjectJob(path.name, path, tables / f"{path.name}.parquet") for path in folders if subjects.pictures(path)]
    if not jobs:
        raise DataError(f"{source}: none of its {len(folders)} folders holds a picture; pretrain.identities is {identities.KINDS}")
    return jobs


def recipe_of(detector: weights.ChosenDetector, section: FacesParams) -> Recipe:
    """Return all that decides a subject's faces, beside the pictures."""
    settings = section.model_dump(include={"score", "det_size", "follow", "margin"})
    return recipe("pretrain", settings | {"detector": detector.name, "sha256": detector.sha256}, CODE)


def run_jobs(
    jobs: list[SubjectJob], runner: ClipRunner[SubjectJob], detector: weights.ChosenDetector, section: FacesParams
) -> dict[str, str]:
    """Make the subjects' tables; return why some could not be made, by subject."""
    failures = {}
    with console.progress() as bar:
        task = bar.add_task("pretrain", total=len(jobs))
        for job, result in runner.each(
            SubjectsWorker.work, jobs, subjects.count, SubjectsWorker.start, (partial(detector.load, section), section)
        ):
            if isinstance(result, ClipError):
                failures[job.clip] = str(result)
            bar.advance(task)
    return failures


def rows(jobs: list[SubjectJob], failures: dict[str, str]) -> Iterator[Row]:
    """Yield each picture's face, or why it has none."""
    for job in jobs:
        if job.clip in failures:
            yield from ((job.clip, f"{job.clip}/{name}", failures[job.clip]) for name in subjects.pictures(job.source))
        else:
            yield from ((job.clip, f"{job.clip}/{name}", face) for name, face in subjects.read(job.target))


if __name__ == "__main__":
    launch(main)
