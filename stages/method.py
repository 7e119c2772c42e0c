"""`method`: trains one method of the comparison on every fold of every protocol, and writes down what it says of the tested clips."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vfer import console, env, features, methods, motion, params, split, tracking
from vfer.comparison import answers, folds
from vfer.comparison.params import CompareParams
from vfer.digests import digest
from vfer.faces import table as faces_table
from vfer.labelled import labelled
from vfer.labels import LabelsParams
from vfer.lstm import sequences
from vfer.methods import table
from vfer.methods.base import Task
from vfer.methods.params import MethodsParams
from vfer.methods.table import ENTRIES, Entry
from vfer.store import Store, recipe

CODE = (answers, folds, methods, motion, faces_table, sequences, split)
TRAINING = Path(str(methods.__file__)).parents[1] / "training.py"  # named, since an import of it would load TensorFlow
PACKAGES = ("keras", "numpy", "opencv-python", "scikit-learn", "tensorflow")


def main(
    cache: Annotated[Path, typer.Option("--features", help="The feature cache, a Parquet file.")],
    faces: Annotated[Path, typer.Option(help="Folder of the clips' faces.")],
    moves: Annotated[Path, typer.Option("--motion", help="Folder of the clips' motion.")],
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file of the pipeline.")],
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    method: Annotated[str, typer.Option(help="The method.")],
    out: Annotated[Path, typer.Option(help="Folder for the answers, a Parquet file a protocol.")],
) -> None:
    """Runs all folds; each is kept in the clip store when it is finished, so that none is trained twice."""
    chosen = params.load(settings, "compare", CompareParams)
    how = params.load(settings, "methods", MethodsParams)
    seed = params.seed(config)
    with console.Stage(method) as stage:
        embeddings = features.faces(cache)
        found = labelled(clips, params.load(config, "labels", LabelsParams), embeddings)
        names = found.classes
        task = Task(len(names), seed, how.nets, how.encodings)
        store = Store(env.store())
        used = {"method": method, "seed": seed, "classes": names, "training": digest(TRAINING), **how.model_dump()}
        made = recipe("folds", used | {path.name: digest(path) for path in (cache, *seen(ENTRIES[method], faces, moves))}, CODE, PACKAGES)
        shutil.rmtree(out, ignore_errors=True)
        trained, total = 0, 0
        for protocol in chosen.protocols:
            ready = []
            for number in range(split.number_of_folds(found.clips, chosen.split(protocol, 0))):
                parts = split.split(found.clips, found.expressions, chosen.split(protocol, number), seed, clips)
                path = out / f"{protocol}-{number}.parquet"
                key = tracking.key({"recipe": made.digest, "parts": [asdict(row) for row in parts]})
                if not store.take(made, key, path):
                    env.prepare_tensorflow("float32")
                    with console.hushed():
                        train = table.load(method)
                    said = folds.run(number, parts, names, train, task, lambda some: folds.clips_of(some, names, embeddings, faces, moves))
                    answers.write(path, [said])
                    store.keep(made, key, path)
                    trained += 1
                    console.console.print(f"{method}, {protocol}, fold {number + 1}: {said.cost.seconds:.1f} s", markup=False)
                ready += answers.read(path)
                path.unlink()
            answers.write(out / f"{protocol}.parquet", ready)
            total += len(ready)
        kept = f" ({total - trained} from the clip store)" if trained < total else ""
        stage.made = f"{total} folds{kept} of {len(chosen.protocols)} protocols -> {out}"


def seen(entry: Entry, faces: Path, moves: Path) -> list[Path]:
    """Returns what a method sees of the clips beside their embeddings."""
    return [path for word, path in (("crops", faces), ("motion", moves)) if word in entry.sees]


if __name__ == "__main__":
    console.run(main)
