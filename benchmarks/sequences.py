"""Sequence models over a dataset of clips, CK+ for example, subject by subject: the LSTM against what single frames tell.

    python -m benchmarks.sequences --cnn outputs/cnn/model.onnx --clips data --flip --set epochs=60
    python -m benchmarks.sequences --cnn outputs/cnn/model.onnx --clips data --flip --set epochs=60 --set baseline=subject
    python -m benchmarks.sequences --cnn outputs/cnn/model.onnx --clips data --flip --set epochs=60 --tune 20 --architecture resnet

The stages `frames` and `faces` give the crops, by params.yaml, and the CNN what is learned from; with `--flip` that is the mean over each
crop and its mirror image. Every clip is a test clip once: the folds are those of `split.protocol: subject`, the next fold validates, the
others train. The LSTM learns from train and takes the epoch that does best on validation; the others choose there how much they are
regularised, and then learn from both. The CNN alone learns from no clip, and chooses among the expressions that the clips have; a clip of
one that it does not know is wrong, as is for all a clip that shows no face. With `--tune` the CNN, of which the Keras file beside the
ONNX file is taken, is first fine-tuned to the training clips' crops in each fold, and all methods get that network. With `baseline` all
methods see embeddings relative to each person's own, which is a protocol of its own. Intervals and the p of the difference to the LSTM,
on the same clips, are over subjects. The LSTM's settings are to be chosen by its accuracy on the validation clips of all folds, which is
told too, not by the test clips.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from benchmarks import machine, tuning
from benchmarks.methods import LSTM, Clips, Numbers, Task, methods
from benchmarks.repository import HOME
from stages import faces, frames
from vfer import env, features, files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.compare.relative import relative
from vfer.data import manifest, split
from vfer.data.labels import classes
from vfer.data.split import PARTS, SplitParams, SplitRow
from vfer.errors import DataError
from vfer.evaluate.intervals import intervals
from vfer.evaluate.paired import p_text, paired
from vfer.faces import table as faces_table
from vfer.lstm.params import LstmParams
from vfer.nets.session import Session

CONFIDENCE = 0.95
BATCH = 256
Seen = dict[str, features.Sequence]


def main(
    cnn: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")],
    clips: Annotated[Path, typer.Option(help="The dataset, as `vfer data add` fills it.")],
    folds: Annotated[int, typer.Option(min=3)] = 10,
    out: Annotated[Path, typer.Option(help="The results, a JSON file; the table lies beside it.")] = HOME / "benchmarks/sequences.json",
    flip: Annotated[bool, typer.Option(help="Average the CNN over each crop and its mirror image.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="LSTMs, of seeds that follow each other, whose probabilities are averaged.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    config: Annotated[Path, typer.Option("--params", help="The params file, whose section lstm says how to train.")] = HOME / "params.yaml",
    sets: Annotated[
        list[str], typer.Option("--set", help="A param of that section to replace, such as epochs=60 or baseline=subject.")
    ] = [],  # noqa: B006  # read, never changed
    tune: Annotated[
        int, typer.Option(min=0, help="Epochs of fine-tuning the CNN in each fold, after two of its new head; 0 for none.")
    ] = 0,
    tune_rate: Annotated[float, typer.Option(min=1e-6, max=1, help="The highest learning rate of the fine-tuning.")] = 0.001,
    architecture: Annotated[str, typer.Option(help="That of the CNN, for the fine-tuning.")] = "resnet",
) -> None:
    """Run all folds and write the figures; without `--tune` the same arguments give the same figures on one machine."""
    given = {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in sets)}
    chosen = LstmParams.model_validate(params.load(config, "lstm", LstmParams).model_dump() | given)
    with console.Stage("sequences") as stage:
        facts, session = machine.facts(), Session(cnn, threads=env.workers())
        listed = manifest.read(clips / "clips.csv")
        names = classes((clip.expression for clip in listed), "all", clips)
        settings = {"folds": folds, "flip": flip, "repeats": repeats, "seed": seed, "cnn": digest(cnn), "lstm": chosen.model_dump()}
        with tempfile.TemporaryDirectory() as scratch:
            crops = dict(cropped(clips, Path(scratch)))
            splits = [split_of(listed, folds, fold, seed, clips) for fold in range(folds)]
            recipe = tuning.recipe(session, architecture, tune, tune_rate) if tune else None
            settings |= {"tuning": recipe.model_dump()} if recipe else {}
            untuned = {} if recipe else embedded(session, crops, flip)

            def seen(rows: list[SplitRow]) -> Seen:
                if not recipe:
                    return untuned
                network = tuning.tuned(cnn.with_suffix(".keras"), rows, crops, names, recipe, seed, Path(scratch) / "tuned.onnx")
                return embedded(network, crops, flip)

            told = compare(seen, splits, Task(names, names if tune else session.classes, chosen, repeats, seed))
        files.write_json(out, {"settings": settings, "facts": facts} | told)
        text = report(told)
        files.write_bytes(out.with_suffix(".md"), text.encode())
        console.console.print(text, markup=False)
        stage.summary = f"{told['clips']} clips of {told['subjects']} subjects in {folds} folds -> {out}"


def cropped(clips: Path, scratch: Path) -> Iterator[tuple[str, faces_table.Faces]]:
    """Run the stages that find the faces, and yield those of each clip that they have not refused."""
    config = HOME / "params.yaml"
    frames.main(clips / "clips.csv", config, scratch / "frames")
    faces.main(scratch / "frames" / "clips", HOME / "weights", config, scratch / "faces")
    root = scratch / "faces" / "clips"
    for path in sorted(root.rglob("*.parquet")):
        yield path.relative_to(root).with_suffix("").as_posix(), faces_table.read(path)


def embedded(session: Session, crops: Mapping[str, faces_table.Faces], flip: bool) -> Seen:
    """Return what the CNN makes of each clip."""
    return {name: embed(session, name, found, flip) for name, found in crops.items()}


def embed(session: Session, name: str, found: faces_table.Faces, flip: bool) -> features.Sequence:
    """Return what the CNN makes of a clip's crops, or its mean over them and their mirror images."""
    plain = features.embed(session, name, found, BATCH)
    if not flip:
        return plain
    flipped = features.embed(session, name, replace(found, crop=found.crop[:, :, ::-1]), BATCH)
    means = {key: (getattr(plain, key) + getattr(flipped, key)) / np.float32(2) for key in features.VECTORS}
    return replace(plain, **means)


def split_of(clips: list[manifest.Clip], folds: int, fold: int, seed: int, where: Path) -> list[SplitRow]:
    """Return a fold's split."""
    section = SplitParams(protocol="subject", folds=folds, fold=fold)
    return split.split(clips, [clip.expression for clip in clips], section, seed, where)


def compare(seen_in: Callable[[list[SplitRow]], Seen], splits: list[list[SplitRow]], task: Task) -> dict[str, Any]:
    """Run every method on the split of every fold; return the figures over all clips, of which each is tested once.

    `seen_in` tells what the CNN makes of the clips, given a split.
    """
    rows = {row.clip: row for row in splits[0]}
    found: dict[str, dict[str, int]] = {name: {} for name in methods(task)}
    validated: list[bool] = []
    for fold, chosen in enumerate(splits, start=1):
        seen = seen_in(chosen)
        shown = {part: [row for row in chosen if row.part == part and row.clip in seen and len(seen[row.clip].faces)] for part in PARTS}
        if empty := [part for part in PARTS if not shown[part]]:
            raise DataError(f"fold {fold}: no clip of the part {empty[0]} shows a face; lower --folds or add clips")
        embeddings = {clip: one.shown for clip, one in seen.items()}
        everyone = [row for part in PARTS for row in shown[part]]
        _, moved = relative(everyone, embeddings, task.lstm.baseline, task.lstm.neutral, task.lstm.neutral_clips)
        train, validation, test = (clips_of(shown[part], seen, moved, task.names) for part in PARTS)
        hits = {}
        for name, method in methods(task).items():
            answer = method(train, validation, task)
            predicted = answer(test)
            found[name] |= zip([row.clip for row in shown["test"]], predicted.tolist(), strict=True)
            hits[name] = (predicted == test.labels).mean()
            if name == LSTM:
                validated += (answer(validation) == validation.labels).tolist()
        told = "; ".join(f"{name} {hit:.3f}" for name, hit in hits.items())
        console.console.print(f"fold {fold} of {len(splits)}: {told}", markup=False)
    truth = np.array([task.names.index(row.expression) for row in rows.values()])
    said = {name: np.array([answers.get(clip, -1) for clip in rows]) for name, answers in found.items()}
    subjects, recordings = ([getattr(row, kind) for row in rows.values()] for kind in ("subject", "recording"))
    judged = {name: judge(truth, predicted, said[LSTM], subjects, recordings, task) for name, predicted in said.items()}
    whole = {
        "clips": len(rows),
        "subjects": len(set(subjects)),
        "expressions": task.names,
        "validation_accuracy": float(np.mean(validated)),
    }
    return whole | {"methods": judged}


def clips_of(rows: list[SplitRow], seen: Seen, moved: Mapping[str, features.Embeddings], names: list[str]) -> Clips:
    """Return what the CNN makes of the frames that show a face, its embeddings relative to people's baselines, if any."""
    found = [seen[row.clip] for row in rows]
    shares = [one.probabilities[one.status != "none"] for one in found]
    return Clips([moved[row.clip] for row in rows], shares, np.array([names.index(row.expression) for row in rows]))


def judge(truth: Numbers, predicted: Numbers, lstm: Numbers, subjects: list[str], recordings: list[str], task: Task) -> dict[str, Any]:
    """Return a method's scores with their intervals, and the p of its difference to the LSTM."""
    found = intervals(truth, predicted, subjects, recordings, len(task.names), CONFIDENCE)
    p = None if predicted is lstm else paired(predicted == truth, lstm == truth, subjects, recordings).p
    return {name: asdict(interval) for name, interval in found.items()} | {"p": p}


def report(told: dict[str, Any]) -> str:
    """Return the figures as Markdown, in per cent."""
    heads = ["method", "accuracy", "95 % interval", "UAR", "macro F1", "p against the LSTM"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in told["methods"].items():
        value, low, high = (100 * row["accuracy"][key] for key in ("value", "low", "high"))
        p = "" if name == LSTM else p_text(row["p"])
        cells = [name, f"{value:.1f}", f"{low:.1f} to {high:.1f}", *(f"{100 * row[key]['value']:.1f}" for key in ("uar", "macro_f1")), p]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nThe LSTM on validation: {100 * told['validation_accuracy']:.1f}.\n"


if __name__ == "__main__":
    console.run(main)
