"""`tune`: fine-tunes the CNN on faces of the training clips, or passes it on as it is."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips import bundle
from vfer.clips.fingerprint import fingerprint
from vfer.clips.store import Recipe, Store
from vfer.cnn import clips as faces_of_clips
from vfer.cnn import head, predictions
from vfer.cnn.data import StillPart
from vfer.cnn.params import CnnParams, TuneParams
from vfer.data.catalogue import learned
from vfer.data.catalogue.labelled import split_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.catalogue.split import SplitParams, SplitRow
from vfer.faces import table
from vfer.nets import reference
from vfer.nets.scores import score
from vfer.nets.session import Session
from vfer.register import live, project

CODE = ("vfer.cnn.tune", "vfer.cnn.predictions", "vfer.nets.reference", "vfer.nets.export")
MODELS = ("model.keras", "model.onnx")
FILES = (*MODELS, "history.csv", "metrics.json", "run.json")
HISTORY = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")
SAMPLE = 64


def main(
    cnn: Annotated[Path, typer.Option(help="Folder of the CNN.")],
    faces: Annotated[Path, typer.Option(help="Folder of the faces tables.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the network, its history, its metrics and what it has learned from.")],
) -> None:
    """Train on faces of the split's train part and choose the epoch on those of its validation part; read none of its test part."""
    tuner = Tuner.load(config, cnn, faces)
    with console.Stage("tune") as stage:
        if not tuner.params.epochs:
            pass_on(cnn, out)
            stage.summary = params.unneeded(config) or "is off (tune.epochs), so the CNN stays as it is"
            return
        labels, section = params.load(config, "labels", LabelsParams), params.load(config, "split", SplitParams)
        seed = params.seed(config)
        dataset = split_clips(data, labels, section, seed, table.clips(faces), env.store(), env.workers())
        for warning in dataset.warnings:
            console.warn(warning)
        was_kept = tuner.tune(dataset.rows, dataset.classes, seed, out)
        examples = [example for example in learned.of_split(dataset.rows) if example.part in faces_of_clips.PARTS]
        learned.write(out / learned.FILE, [*learned.read(cnn / learned.FILE), *examples])
        stage.summary = f"fine-tuned on {len(examples)} clips{' (from the clip store)' if was_kept else ''} -> {out}"


def pass_on(cnn: Path, out: Path) -> None:
    """Copy the CNN as it is."""
    for name in (*MODELS, learned.FILE):
        with files.replacing(out / name) as temporary:
            shutil.copyfile(cnn / name, temporary)
    files.write_csv(out / "history.csv", HISTORY, [])
    files.write_json(out / "metrics.json", {"epochs": 0})
    files.write_json(out / "run.json", {"run_id": ""})


@dataclass(frozen=True)
class Tuner:
    """Fine-tunes a CNN for one split or several; `modules` may hold layers of the user's own, `separable` ones among them."""

    params: TuneParams
    cnn: Path
    faces: Path
    modules: Sequence[str]
    separable: bool
    project: str

    @classmethod
    def load(cls, config: Path, cnn: Path, faces: Path) -> "Tuner":
        """Return the tuner of a params file, given the folders of the CNN and of the faces tables."""
        section, name = params.load(config, "cnn", CnnParams), project.name(config, env.repository() or HOME)
        trained = section.weights == "trained"
        return cls(TuneParams.load(config), cnn, faces, section.modules if trained else (), trained and section.separable, name)

    def tune(self, rows: Sequence[SplitRow], names: Sequence[str], seed: int, out: Path) -> bool:
        """Write the network of a split, its history, its metrics and its run; return whether the clip store had them.

        The store keeps them under all that was learned from, so that a test clip that comes or goes trains nothing again.
        """
        parts = faces_of_clips.parts(rows, self.faces, names, self.params.frames)
        settings = self.params.model_dump() | {"seed": seed, "classes": list(names)}
        arrays = [array for part in parts.values() for array in (part.pixels, part.labels)]
        key = fingerprint(settings, code=[*CODE, *self.modules], inputs=[self.cnn / MODELS[0], *arrays])
        store, recipe = Store(env.store()), Recipe("tune", key)
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / "network.zip"
            if was_kept := store.take(recipe, key, packed):
                bundle.unpack(packed, FILES, out)
            else:
                self._train(parts, list(names), settings, key, out)
                bundle.pack(out, FILES, packed)
                if failure := store.keep(recipe, key, packed):
                    console.warn(f"{failure}; this network will be trained again: free space or correct its permissions")
        return was_kept

    def _train(self, parts: Mapping[str, StillPart], names: list[str], settings: Mapping[str, object], key: str, out: Path) -> None:
        env.prepare_tensorflow("float32", separable=self.separable)
        with console.hushed():
            from vfer.cnn import model as cnn_model
            from vfer.cnn import tune
            from vfer.nets import export

            for module in self.modules:
                import_module(module)
        held_out, epochs = parts["validation"], self.params.frozen_epochs + self.params.epochs
        root = env.repository() or HOME
        with console.epochs("tune", epochs) as show, live.training(root, "tune", settings, key, self.project, show) as training:
            model, fit = tune.tune(
                self.cnn / MODELS[0],
                dict(parts),
                len(names),
                self.params,
                int(str(settings["seed"])),
                training.checkpoint,
                training.on_epoch,
            )
            export.save(model, out, held_out.pixels[:SAMPLE, ..., None].astype("float32"), names)
            export.forget_process(out / MODELS[1])
            outputs = predictions.run(Session(out / MODELS[1], threads=env.workers()), held_out)
            everybody = reference.of_faces(outputs["embedding"], held_out.labels, names)
            export.annotate(out / MODELS[1], {head.KEY: cnn_model.answer_head(model).to_json(), reference.KEY: everybody.to_json()})
            answer = predictions.predictions_of(outputs["probabilities"], "validation", held_out, names, names)
            figures = {"validation": asdict(score(answer.truth, answer.predicted, len(names)))}
            training.run.log(files.flatten(figures))
        files.write_csv(out / "history.csv", HISTORY, [{name: row[name] for name in HISTORY} for row in fit.rows()])
        counts = {"faces": {name: len(part.labels) for name, part in parts.items()}}
        files.write_json(out / "metrics.json", figures | {"epochs": len(fit.history), "best_epoch": fit.best + 1} | counts)
        files.write_json(out / "run.json", {"run_id": training.run.id})


if __name__ == "__main__":
    launch(main)
