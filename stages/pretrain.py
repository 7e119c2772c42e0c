"""`pretrain`: trains the CNN's backbone on whose face it sees, or takes given weights; does nothing unless it is turned on."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from stages import HOME, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.fingerprint import fingerprint
from vfer.clips.store import Clips, Recipe, Store, recipe
from vfer.cnn.params import CnnParams
from vfer.data import learned, stills
from vfer.data.learned import Example
from vfer.data.manifest import full_name
from vfer.errors import ClipError, DataError, ParamsError
from vfer.faces import weights
from vfer.faces.params import FacesParams
from vfer.pretrain import identities, subjects
from vfer.pretrain.identities import CollectedFaces, Row
from vfer.pretrain.params import PretrainParams
from vfer.pretrain.subjects import SubjectJob, SubjectsWorker
from vfer.register import project, tracking

TRAINING = ("vfer.pretrain.train", "vfer.nets.export")
CODE = ("vfer.pretrain.subjects", "vfer.faces.weights")
FACERES = "faceres-deep.json"
CALIBRATING = 1536  # stills over which the statistics of its batch normalisations are taken
HISTORY = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]


@dataclass
class Made:
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
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the history and the metrics.")],
) -> None:
    """Write the backbone's weights, where there are any, and always what they are, the metrics and the pictures set aside."""
    chosen = params.load(config, "pretrain", PretrainParams)
    reason = params.unneeded(config)
    with console.Stage("pretrain") as stage:
        shutil.rmtree(out / "weights", ignore_errors=True)
        files.Refusals({}, "picture").write(out / "refused.csv")
        if not chosen.enabled:
            made = Made({"weights": "none"}, "is off (pretrain.enabled), so the CNN starts from random weights")
        elif reason:
            made = Made({"weights": "none"}, reason)
        elif (source / FACERES).is_file():
            made = convert(source / FACERES, stills_, config, out / "weights")
        elif source.suffix == ".keras":
            made = take(source, config, out / "weights")
        else:
            made = train(source, weights_, config, out)
        files.write_json(out / "weights" / "weights.json", made.about)
        if made.examples:
            learned.write(out / "weights" / learned.FILE, made.examples)
        files.write_csv(out / "history.csv", HISTORY, made.history)
        files.write_json(out / "metrics.json", {"weights": made.about["weights"], **made.figures})
        files.write_json(out / "run.json", {"run_id": made.run_id})
        stage.summary = made.line


def take(source: Path, config: Path, folder: Path) -> Made:
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
    return Made(about, f"{cnn.architecture} of {source} -> {folder}", [Example("identity", str(source), "train")])


def convert(source: Path, table: Path, config: Path, folder: Path) -> Made:
    """Turn faceres-deep into the weights of a `mobilenet`; raise `ParamsError` if the CNN is another one."""
    cnn = params.load(config, "cnn", CnnParams)
    if cnn.architecture != "mobilenet":
        raise ParamsError(f"{config}: cnn.architecture: {source} holds a mobilenet, got {cnn.architecture!r}")
    rows = stills.read(table)
    shown = rows.take(np.linspace(0, rows.num_rows - 1, min(CALIBRATING, rows.num_rows)).round().astype(int))
    env.prepare_tensorflow("float32", separable=False)
    with console.hushed():
        from vfer.cnn import transfer
        from vfer.nets import export
        from vfer.pretrain.faceres import convert as converted

    folder.mkdir(parents=True)
    export.save_keras(converted(source, stills.decode(shown, str(table))), folder / transfer.BACKBONE)
    about = {"weights": "converted", "architecture": cnn.architecture, "file": str(source), "sha256": digest(source.parent)}
    return Made(about, f"{cnn.architecture} of {source} -> {folder}", [Example("identity", str(source), "train")])


def train(source: Path, detector: Path, config: Path, out: Path) -> Made:
    """Train on the faces of a Parquet file or a folder, in its own MLflow run."""
    chosen = params.load(config, "pretrain", PretrainParams)
    cnn = params.load(config, "cnn", CnnParams)
    seed = params.seed(config)
    settings = chosen.model_dump() | {"seed": seed, "architecture": cnn.architecture, "precision": cnn.precision}
    found, figures, digests = collect(source, detector, config, out)
    refused = files.Refusals(found.refusals, "picture")
    refused.write(out / "refused.csv")
    mend = "fix or remove them, or raise pretrain.max_bad"
    refused.check(found.pictures, chosen.max_bad, "pretrain.max_bad", "show no face or cannot be decoded", mend)
    known = identities.choose(found, chosen.min_faces, chosen.validation, seed, source)
    env.prepare_tensorflow(cnn.precision, separable=cnn.separable)
    with console.hushed():
        from vfer.cnn import transfer
        from vfer.nets import export
        from vfer.pretrain import train as training

    key = fingerprint(settings, code=[*TRAINING, *cnn.modules], inputs=[*digests, known.rows, known.labels, known.held_out])
    root = env.repository() or HOME
    with tracking.training(root, "pretrain", settings, key, chosen.epochs, project.name(config, root)) as live:
        net, fit, auc = training.train(known, cnn.architecture, cnn.precision, chosen, seed, live.checkpoint, live.on_epoch)
        (out / "weights").mkdir(parents=True)
        export.save_keras(net, out / "weights" / transfer.BACKBONE)
        held = {"identification": fit.history[fit.best]["val_accuracy"], "verification_auc": auc}
        live.run.log(held)
    figures |= {
        "subjects": known.subjects,
        "faces": len(known.rows),
        "held_out": int(known.held_out.sum()),
        "set_aside": len(found.refusals),
    }
    figures |= {"few": len(found.subjects) - len(known.rows), **held, "epochs": len(fit.history), "best_epoch": fit.best + 1}
    about = {"weights": "trained", "architecture": cnn.architecture, "identities": str(source)}
    line = (
        f"{cnn.architecture} of {len(fit.history)} epochs on {len(known.rows)} faces of {known.subjects} subjects, held out: "
        f"identification {held['identification']:.3f}, verification AUC {auc:.3f} -> {out}"
    )
    examples = [Example("identity", name, "train", full_name(source.stem, name)) for name in known.names]
    return Made({**about, "subjects": known.subjects, "faces": len(known.rows)}, line, examples, figures, fit.rows(), live.run.id)


def collect(source: Path, detector: Path, config: Path, out: Path) -> tuple[CollectedFaces, dict[str, object], list[str]]:
    """Return the faces, the figures of where they come from, and the digests of the files that hold them."""
    if not source.is_dir():
        found, unnamed = identities.read(source, out)
        return found, {"unnamed": unnamed}, [digest(source)]
    section = params.load(config, "faces", FacesParams)
    chosen = weights.choose(section, detector)
    chosen.check()
    console.console.print(f"pretrain: detector {chosen.name} {chosen.sha256[:12]}, since {chosen.why}", markup=False)
    tables = out / "subjects"
    shutil.rmtree(tables, ignore_errors=True)
    jobs = list_jobs(source, tables)
    kept: Clips[SubjectJob] = Clips(Store(env.store()), recipe_of(chosen, section), env.workers(), log=out / "errors.log", seconds=None)
    lost = run_jobs(jobs, kept, chosen, section)
    console.console.print(f"pretrain: {len(jobs)} subjects{kept.note}", markup=False)
    most = sum(subjects.count(job.target) for job in jobs if job.clip not in lost)
    found = identities.collect(rows(jobs, lost), most, out)
    digests = [digest(job.target) for job in jobs if job.clip not in lost]
    shutil.rmtree(tables)
    return found, {"detector": chosen.name, "detector_sha256": chosen.sha256}, digests


def list_jobs(source: Path, tables: Path) -> list[SubjectJob]:
    """Return one job per folder with pictures, sorted; raise `DataError` if there is none."""
    folders = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    jobs = [SubjectJob(path.name, path, tables / f"{path.name}.parquet") for path in folders if subjects.pictures(path)]
    if not jobs:
        raise DataError(f"{source}: none of its {len(folders)} folders holds a picture; pretrain.identities is {identities.KINDS}")
    return jobs


def recipe_of(chosen: weights.ChosenDetector, section: FacesParams) -> Recipe:
    """Return all that decides a subject's faces, beside the pictures."""
    settings = section.model_dump(include={"score", "det_size", "follow", "margin"})
    return recipe("pretrain", settings | {"detector": chosen.name, "sha256": chosen.sha256}, CODE)


def run_jobs(jobs: list[SubjectJob], kept: Clips[SubjectJob], chosen: weights.ChosenDetector, section: FacesParams) -> dict[str, str]:
    """Make the subjects' tables; return why some could not be made, by subject."""
    lost = {}
    with console.progress() as bar:
        task = bar.add_task("pretrain", total=len(jobs))
        for job, result in kept.each(
            SubjectsWorker.work, jobs, subjects.count, SubjectsWorker.start, (partial(chosen.load, section), section)
        ):
            if isinstance(result, ClipError):
                lost[job.clip] = str(result)
            bar.advance(task)
    return lost


def rows(jobs: list[SubjectJob], lost: dict[str, str]) -> Iterator[Row]:
    """Yield each picture's face, or why it has none."""
    for job in jobs:
        if job.clip in lost:
            yield from ((job.clip, f"{job.clip}/{name}", lost[job.clip]) for name in subjects.pictures(job.source))
        else:
            yield from ((job.clip, f"{job.clip}/{name}", face) for name, face in subjects.read(job.target))


if __name__ == "__main__":
    launch(main)
