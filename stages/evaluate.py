"""`evaluate`: scores the sequence model on the test clips, with intervals, leakage, calibration and pictures."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from stages import ParamsFile, launch
from vfer import files, params
from vfer.cli import console
from vfer.clips.fingerprint import fingerprint
from vfer.cnn import predictions
from vfer.data.catalogue import audit, learned, split
from vfer.errors import DataError
from vfer.evaluate import figures, plots, report
from vfer.evaluate import stills as stills_report
from vfer.evaluate.intervals import cells, intervals
from vfer.evaluate.params import EvaluateParams
from vfer.evaluate.relative import Relative, relative
from vfer.evaluate.vote import vote
from vfer.features import cache
from vfer.lstm.sequences import predict
from vfer.lstm.settings import settings_of
from vfer.nets.scores import confusion, score
from vfer.nets.session import Session


def main(
    features: Annotated[Path, typer.Option(help="The feature cache, a Parquet file.")],
    cnn: Annotated[Path, typer.Option(help="The CNN's outputs: its predictions, and its history.")],
    tune: Annotated[Path, typer.Option(help="Those of its fine-tuning: what the CNN learned from, and the history.")],
    lstm: Annotated[Path, typer.Option(help="The sequence model's outputs: the model, the split, and its history.")],
    stills: Annotated[Path, typer.Option(help="The stills, a Parquet file.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for the metrics, tables and pictures.")],
) -> None:
    """Score every test clip; one without a face has no answer, and counts as `evaluate.faceless` says."""
    section = params.load(config, "evaluate", EvaluateParams)
    seed = params.seed(config)
    with console.Stage("evaluate") as stage:
        session = Session(lstm / "model.onnx")
        names, settings = session.classes, settings_of(session)
        rows, network = split.read(lstm / "split.parquet"), learned.read(tune / learned.FILE)
        sequences = {sequence.clip: sequence for sequence in cache.read(features)}
        test = [row for row in rows if row.part == "test"]
        if not test:
            raise DataError(f"{lstm}: the split has no test clip; lower split.folds")
        embeddings = [sequences[row.clip].shown for row in test]
        probabilities = predict(session, embeddings, settings.max_frames)
        truth = np.array([names.index(row.expression) for row in test])
        train = [row for row in rows if row.part == "train" and len(sequences[row.clip].faces)]
        labels = np.array([names.index(row.expression) for row in train])
        predicted = figures.answers(probabilities, np.bincount(labels, minlength=len(names)), section.faceless)
        subjects = [row.subject for row in test]
        scores = intervals(truth, predicted, subjects, [row.recording for row in test], len(names), section.confidence)
        error, curve = figures.calibration(truth, probabilities)
        plain = dict(zip([row.clip for row in test], predicted.tolist(), strict=True))
        with_baselines = relative_to_people(session, rows, sequences, plain, np.bincount(labels, minlength=len(names)), section)
        votes = vote(
            [sequences[row.clip].faces for row in train],
            labels,
            [clip.values for clip in embeddings],
            len(names),
            section.vote_frames,
            seed,
        )
        statuses = np.concatenate([sequences[row.clip].status for row in test])
        metrics = {
            **{name: asdict(interval) for name, interval in scores.items()},
            "calibration_error": error,
            **figures.proper(truth, probabilities),
            "coverage": float((statuses != "none").mean()),
            "clips": len(test),
            "faceless": sum(not len(clip) for clip in embeddings),
            "subjects": len(set(subjects)),
            "people": fingerprint({"subjects": sorted(set(subjects))})[:8],
            "leakage": audit.leakage(rows, network),
            "frame_vote": asdict(score(truth, votes, len(names))),
        }
        if with_baselines:
            metrics["baseline"] = with_baselines.metrics
        of_stills = predictions.read(cnn / "predictions.parquet").of("test")
        if of_stills.still:
            metrics["stills"] = stills_report.report(of_stills, stills, section.confidence, out)
        classes = figures.per_class(truth, predicted, names)
        files.write_json(out / "metrics.json", metrics)
        files.write_csv(out / "per_class.csv", list(classes[0]), classes)
        by_subject = figures.per_subject(truth, predicted, subjects, len(names))
        files.write_csv(out / "per_subject.csv", list(by_subject[0]), by_subject)
        files.write_csv(out / "reliability.csv", ["confidence", "accuracy", "clips"], curve)
        pairs = [{"actual": row.expression, "predicted": names[i] if i >= 0 else "none"} for row, i in zip(test, predicted, strict=True)]
        files.write_csv(out / "confusion.csv", ["actual", "predicted"], pairs)
        write_predictions(out / "predictions.parquet", test, predicted, votes, probabilities, names, with_baselines)
        plots.confusion(out / "plots" / "confusion.png", confusion(truth, predicted, len(names)), names)
        plots.per_class(out / "plots" / "per_class.png", classes)
        plots.reliability(out / "plots" / "reliability.png", curve)
        plots.subjects(out / "plots" / "subjects.png", by_subject)
        line = summary(metrics)
        histories = [outputs / "history.csv" for outputs in (cnn, tune, lstm)]
        report.write(
            out, line, metrics, section.confidence, rows, {"expression": classes, "subject": by_subject}, histories, audit.unnamed(network)
        )
        stage.summary = f"{line} -> {out}"


def relative_to_people(
    session: Session,
    rows: list[split.SplitRow],
    sequences: Mapping[str, cache.Sequence],
    plain: Mapping[str, int],
    prior: NDArray[np.int64],
    section: EvaluateParams,
) -> Relative | None:
    """Return the answers relative to each person's own baseline; None of a model that is trained without."""
    settings = settings_of(session)
    if settings.baseline == "none":
        return None
    embeddings = {row.clip: sequences[row.clip].shown for row in rows}
    return relative(session, settings, rows, embeddings, plain, prior, section)


def summary(metrics: Mapping[str, Any]) -> str:
    """Return the figures that are always given together, on one line."""
    flat = files.flatten(metrics)
    value, interval = cells(metrics["accuracy"])
    return (
        f"{flat['clips']:.0f} test clips of {flat['subjects']:.0f} subjects: accuracy {value} ({interval}), UAR {flat['uar.value']:.3f}, "
        f"macro F1 {flat['macro_f1.value']:.3f}; frame vote {flat['frame_vote.accuracy']:.3f}; seen in training: "
        f"{flat['leakage.recording']:.0%} of their recordings, {flat['leakage.subject']:.0%} of their subjects" + with_baseline(metrics)
    )


def with_baseline(metrics: Mapping[str, Any]) -> str:
    """Return the figures relative to each person's own baseline, and what they know of the person; empty if there are none."""
    if "baseline" not in metrics:
        return ""
    own = metrics["baseline"]
    accuracy, uar = (cells(own[name]) for name in ("accuracy", "uar"))
    return (
        f"; relative to each person's baseline ({own['mode']}: {own['protocol']}): accuracy {accuracy[0]} "
        f"({accuracy[1]}), UAR {uar[0]}, of {own['clips']} clips"
    )


def write_predictions(
    path: Path,
    test: list[split.SplitRow],
    predicted: NDArray[np.int64],
    votes: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    names: list[str],
    relative_answers: Relative | None,
) -> None:
    """Write one row per test clip: the truth, the answer (null without a face), the frames' vote, and one column per class.

    With baselines, `with_baseline` is the answer relative to the person's own, and `scored_with_baseline` false where the clip made one.
    """
    answers = {"predicted": predicted, "frame_vote": votes}
    if relative_answers:
        answers["with_baseline"] = np.array([relative_answers.answers.get(row.clip, -1) for row in test])
    fields = ("clip", "digest", "expression", "subject", "recording")
    columns: dict[str, object] = {name: [getattr(row, name) for row in test] for name in fields}
    columns |= {name: [names[i] if i >= 0 else None for i in values] for name, values in answers.items()}
    columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(names)}
    if relative_answers:
        columns["scored_with_baseline"] = [row.clip in relative_answers.answers for row in test]
    with files.replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


if __name__ == "__main__":
    launch(main)
