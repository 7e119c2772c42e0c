"""`method`: trains one method of the comparison on every fold of a protocol, and writes down what it says of the tested clips."""

import shutil
from pathlib import Path
from typing import Annotated, get_args

import typer

from stages import HOME
from vfer import console, env, features, manifest, params, split, tracking
from vfer.comparison import answers, folds
from vfer.comparison.params import CompareParams
from vfer.errors import ParamsError
from vfer.labels import LabelsParams, classes
from vfer.methods import table
from vfer.methods.base import Task
from vfer.methods.params import MethodsParams
from vfer.split import Protocol, Row


def main(
    cache: Annotated[Path, typer.Option("--features", help="The feature cache, a Parquet file.")],
    faces: Annotated[Path, typer.Option(help="Folder of the clips' faces.")],
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file of the pipeline.")],
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    protocol: Annotated[str, typer.Option(help="The protocol of the splits.")],
    method: Annotated[str, typer.Option(help="The method.")],
    out: Annotated[Path, typer.Option(help="The answers, a Parquet file.")],
) -> None:
    """Runs all folds; a finished one is kept, so that a run that was killed goes on with the next."""
    chosen = params.load(settings, "compare", CompareParams)
    how = params.load(settings, "methods", MethodsParams)
    seed = params.seed(config)
    if method not in table.ENTRIES or protocol not in get_args(Protocol) or protocol not in chosen.protocols:
        raise ParamsError(f"{settings}: {protocol}, {method}: unknown; expected {', '.join(chosen.protocols)}, {', '.join(table.ENTRIES)}")
    with console.Stage(f"{method}, {protocol}") as stage:
        embeddings = features.faces(cache)
        names, splits = splits_of(clips, config, chosen, protocol, set(embeddings), seed)  # type: ignore[arg-type]  # checked above
        task = Task(len(names), seed, how.nets, how.encodings)
        key = tracking.key({"method": method, "protocol": protocol, "seed": seed, "classes": names} | how.model_dump(), cache, clips)
        kept = (env.repository() or HOME) / ".dvc" / "tmp" / "vfer" / f"{method}-{protocol}-{key}"
        env.prepare_tensorflow()
        with console.hushed():
            train = table.load(method)
        found = []
        for number, rows in enumerate(splits):
            path = kept / f"fold-{number}.parquet"
            if not path.is_file():
                said = folds.run(number, rows, names, train, task, lambda some: folds.clips_of(some, names, embeddings, faces))
                answers.write(path, [said])
                console.console.print(f"fold {number + 1} of {len(splits)}: {said.cost.seconds:.1f} s", markup=False)
            found += answers.read(path)
        answers.write(out, found)
        shutil.rmtree(kept)
        stage.made = f"{len(splits)} folds of {sum(len(fold.rows) for fold in found)} clips -> {out}"


def splits_of(
    clips: Path, config: Path, chosen: CompareParams, protocol: Protocol, cached: set[str], seed: int
) -> tuple[list[str], list[list[Row]]]:
    """Returns the classes, and each fold's split of the clips that are in the cache and show one of the classes."""
    labels = params.load(config, "labels", LabelsParams)
    listed = [clip for clip in manifest.read(clips) if clip.clip in cached]
    expressions = labels.merged(clip.expression for clip in listed)
    names = classes(expressions, labels.clips, clips)
    kept = [i for i, expression in enumerate(expressions) if expression in names]
    listed, expressions = [listed[i] for i in kept], [expressions[i] for i in kept]
    count = split.number_of_folds(listed, chosen.split(protocol, 0))
    return names, [split.split(listed, expressions, chosen.split(protocol, fold), seed, clips) for fold in range(count)]


if __name__ == "__main__":
    console.run(main)
