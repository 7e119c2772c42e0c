"""`folds`: fine-tunes the CNN for every fold of the comparison, where `tune` is on, and writes its embeddings of the clips."""

import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from stages.tune import MODELS, Tuner
from vfer import env, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.store import Store, recipe
from vfer.compare.params import CompareParams, embeddings_of
from vfer.data.catalogue import places, split
from vfer.data.catalogue.labelled import labelled_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.faces import table
from vfer.features import cache
from vfer.features.embed import embed
from vfer.nets.session import Session

CODE = ("vfer.features.embed",)


def main(
    cnn: Annotated[Path, typer.Option(help="Folder of the CNN.")],
    faces: Annotated[Path, typer.Option(help="Folder of the faces tables.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    config: ParamsFile,
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    out: Annotated[Path, typer.Option(help="Folder for the embeddings, a Parquet file a training.")],
) -> None:
    """Fine-tune once for each protocol, fold and seed, on its own training clips; the clip store keeps every network that is finished."""
    tuner, comparison = Tuner.load(config, cnn, faces), params.load(settings, "compare", CompareParams)
    seed = params.seed(config)
    with console.Stage("folds") as stage:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        if not tuner.params.epochs:
            stage.summary = "the CNN is not fine-tuned (tune.epochs), so all folds have its embeddings in common"
            return
        names, faces_digest = table.clips(faces), digest(faces)
        dataset = labelled_clips(data, params.load(config, "labels", LabelsParams), names, env.store(), env.workers())
        known, fresh, total = places.read(data / places.FILE), 0, 0
        for protocol, settings_of in comparison.protocols.items():
            numbers = split.fold_numbers(dataset.clips, comparison.split(protocol, 0), known)
            for number, repeat in product(numbers, range(settings_of.seeds)):
                rows = dataset.split(comparison.split(protocol, number), seed, known)
                with tempfile.TemporaryDirectory() as folder:
                    was_kept = tuner.tune(rows, dataset.classes, seed + repeat, Path(folder))
                    embed_all(Path(folder) / MODELS[1], faces, faces_digest, names, embeddings_of(out, protocol, number, repeat))
                total, fresh = total + 1, fresh + (not was_kept)
                if not was_kept:
                    console.console.print(f"folds: {protocol}, fold {number + 1}, seed {seed + repeat}: fine-tuned", markup=False)
        note = f" ({total - fresh} from the clip store)" if fresh < total else ""
        stage.summary = f"{total} fine-tuned networks{note} -> {out}"


def embed_all(model: Path, faces: Path, faces_digest: str, names: list[str], path: Path) -> None:
    """Write a network's embeddings of all clips, whose folder has that digest, or take them from the clip store."""
    store, work = Store(env.store()), recipe("embeddings", {"model": digest(model)}, CODE)
    key = f"{work.digest}{faces_digest[:32]}"
    if store.take(work, key, path):
        return
    session = Session(model, threads=env.workers())
    pieces = (embed(session, name, piece) for name in names for piece in table.pieces(faces / f"{name}.parquet"))
    cache.write(path, pieces, {"model_sha256": digest(model)})
    store.keep(work, key, path)


if __name__ == "__main__":
    launch(main)
