"""`method`: trains one method of the comparison on every fold of every protocol, and writes its answers to the tested clips."""

import logging
import shutil
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from stages import ParamsFile, launch
from vfer import env, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.clips.fingerprint import fingerprint
from vfer.clips.store import Store, recipe
from vfer.cnn.params import TuneParams
from vfer.compare import answers, folds, table
from vfer.compare.answers import Answers
from vfer.compare.methods.base import Task
from vfer.compare.methods.params import MethodsParams
from vfer.compare.params import CompareParams, embeddings_of
from vfer.compare.relative import relative
from vfer.compare.table import ENTRIES, MethodEntry
from vfer.data.catalogue import places, split
from vfer.data.catalogue.labelled import labelled_clips
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.catalogue.split import SplitRow
from vfer.errors import DataError
from vfer.features import cache
from vfer.lstm import people
from vfer.lstm.baseline import Mode
from vfer.lstm.params import LstmParams


def main(
    features: Annotated[Path, typer.Option(help="The feature cache, a Parquet file.")],
    tuned: Annotated[Path, typer.Option("--folds", help="Folder of the embeddings of the networks that are fine-tuned for a fold.")],
    faces: Annotated[Path, typer.Option(help="Folder of the clips' faces.")],
    moves: Annotated[Path, typer.Option("--motion", help="Folder of the clips' motion.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    config: ParamsFile,
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    method: Annotated[str, typer.Option(help="The method.")],
    out: Annotated[Path, typer.Option(help="Folder for the answers, a Parquet file a protocol.")],
) -> None:
    """Run all trainings; each is kept in the clip store when it is finished, so that none is trained twice."""
    section = params.load(settings, "compare", CompareParams)
    how = params.load(settings, "methods", MethodsParams)
    seed = params.seed(config)
    with console.Stage(method) as stage:
        tuning = TuneParams.load(config).epochs > 0  # then the cache's network has learned from clips that are tested here
        everywhere = cache.embeddings(features)
        dataset = labelled_clips(data, params.load(config, "labels", LabelsParams), everywhere, env.store(), env.workers())
        names, numbers = dataset.classes, places.read(data / places.FILE)
        lstm = params.load(config, "lstm", LstmParams)
        task = Task(len(names), seed, lstm, how.nets, how.encodings)
        store = Store(env.store())
        entry = ENTRIES[method]
        check(method, entry, faces, settings)
        beside = [digest(path) for path in seen(entry, faces, moves)]
        cache_digest = digest(features)
        settings_used = {"method": method, "seed": seed, "classes": names}
        settings_used |= {name: part for name, part in (how.model_dump() | {"lstm": lstm.model_dump()}).items() if name in entry.settings}
        work_recipe = recipe("folds", settings_used, ("vfer.compare.folds", "vfer.compare.relative", entry.code))
        shutil.rmtree(out, ignore_errors=True)

        def fit_fold(name: str, number: int, repeat: int, parts: list[SplitRow], mode: Mode, cache_path: Path) -> Answers:
            for lacking in split.absent(parts, ["train"]):
                console.warn(f"{name}, fold {number + 1}: {lacking}")
            for warning in people.check(parts, mode, lstm.neutral, dataset.manifest):
                console.warn(f"{name}, fold {number + 1}: {warning}")
            embeddings = cache.embeddings(cache_path) if tuning else everywhere
            parts, values = relative(parts, embeddings, mode, lstm.neutral, lstm.neutral_clips)
            env.prepare_tensorflow("float32")
            logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of a new graph each fold
            with console.hushed():
                train = table.load(method)
            how_to = replace(task, seed=seed + repeat)
            return folds.run(number, repeat, parts, names, train, how_to, lambda rows: folds.clips_of(rows, names, values, faces, moves))

        fresh, total = 0, 0
        for name, (protocol, mode) in section.tables.items():
            ready = []
            for number, repeat in product(
                split.fold_numbers(dataset.clips, section.split(protocol, 0), numbers), range(section.protocols[protocol].seeds)
            ):
                parts = dataset.split(section.split(protocol, number), seed, numbers)
                path = out / f"{name}-{number}-{repeat}.parquet"
                unmoved = mode == "none" or (mode != "neutral" and "embeddings" not in entry.sees)  # the baseline moves embeddings alone
                people_by = () if unmoved else (mode, lstm.neutral, lstm.neutral_clips)
                work = {"recipe": work_recipe.digest, "repeat": repeat, "parts": [asdict(row) for row in parts], "baseline": people_by}
                own = embeddings_of(tuned, protocol, number, repeat) if tuning else features
                key = fingerprint(work, inputs=[digest(own) if tuning else cache_digest, *beside])
                if not store.take(work_recipe, key, path):
                    predictions = fit_fold(name, number, repeat, parts, mode, own)
                    answers.write(path, [predictions])
                    if failure := store.keep(work_recipe, key, path):
                        console.warn(f"{failure}; this fold will be trained again: free space or correct its permissions")
                    fresh += 1
                    console.console.print(
                        f"{method}, {name}, fold {number + 1}, seed {seed + repeat}: {predictions.cost.seconds:.1f} s", markup=False
                    )
                ready += answers.read(path)
                path.unlink()
            answers.write(out / f"{name}.parquet", ready)
            total += len(ready)
        note = f" ({total - fresh} from the clip store)" if fresh < total else ""
        stage.summary = f"{total} trainings{note} of {len(section.tables)} protocols -> {out}"


def seen(entry: MethodEntry, faces: Path, moves: Path) -> list[Path]:
    """Return what a method sees of the clips beside their embeddings."""
    return [path for word, path in (("crops", faces), ("motion", moves)) if word in entry.sees]


def check(method: str, entry: MethodEntry, faces: Path, settings: Path) -> None:
    """Raise `DataError` for a method that sees pictures where the features are those of another tool, which has none for us."""
    if entry.sees != "embeddings" and not any(faces.rglob("*.parquet")):
        raise DataError(f"{settings}: {method} sees {entry.sees}, and {faces} holds none; remove it from compare.methods")


if __name__ == "__main__":
    launch(main)
