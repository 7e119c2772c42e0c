"""`compare`: the figures of every method under every protocol, as tables, pictures and MLflow runs."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.fingerprint import fingerprint
from vfer.cnn.params import TuneParams
from vfer.compare import answers, pictures, report
from vfer.compare.params import CompareParams
from vfer.compare.report import MethodResults
from vfer.compare.table import ENTRIES
from vfer.evaluate import figures, plots
from vfer.register import experiment, project, refusal, tracking
from vfer.register.inputs import version

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
Everything = dict[str, dict[str, T]]
"""By protocol and method."""
COSTS = ("parameters", "training_seconds", "milliseconds")


def main(
    folder: Annotated[Path, typer.Option("--answers", help="Folder of the methods' answers: a folder a method, a file a protocol.")],
    data: Annotated[Path, typer.Option(help="The DVC file that names the data's version.")],
    config: ParamsFile,
    settings: Annotated[Path, typer.Option("--comparison", help="The params file of the comparison.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables and the pictures.")],
) -> None:
    """Write metrics.json, table.md, table.csv, per_subject.csv and pictures, and one MLflow run with one below for each row."""
    section = params.load(settings, "compare", CompareParams)
    seed = params.seed(config)
    with console.Stage("compare") as stage:
        results: Everything[MethodResults] = {
            protocol: {name: MethodResults(answers.read(folder / name / f"{protocol}.parquet"), section) for name in section.methods}
            for protocol in section.tables
        }
        tables: Everything[report.Scores] = {protocol: report.table(methods) for protocol, methods in results.items()}
        tuning = TuneParams.load(config)
        write(out, results, tables, section, tuned=tuning.epochs > 0)
        log(
            out,
            project.name(config, env.repository() or HOME),
            results,
            tables,
            {"seed": seed, **section.model_dump()} | ({"tune": tuning.model_dump()} if tuning.epochs else {}),
            str(version(data).get("md5", "")),
        )
        best = {protocol: next(iter(methods.items())) for protocol, methods in tables.items()}
        first = "; ".join(f"by {protocol} {name} {scores['accuracy']['value']:.3f}" for protocol, (name, scores) in best.items())
        stage.summary = f"{len(section.methods)} methods under {len(tables)} protocols, best {first} -> {out / 'table.md'}"


def write(out: Path, results: Everything[MethodResults], tables: Everything[report.Scores], section: CompareParams, *, tuned: bool) -> None:
    """Write the tables and the pictures; the confusion matrices are those of the last protocol."""
    shutil.rmtree(out / "plots", ignore_errors=True)
    files.write_json(out / "metrics.json", tables)
    files.write_bytes(out / "table.md", report.markdown(tables, section.confidence, tuned=tuned).encode())
    rows = report.flat(tables)
    files.write_csv(out / "table.csv", list(rows[0]), rows)
    by_subject = [
        {"protocol": protocol, "method": name, **row}
        for protocol, methods in results.items()
        for name, one in methods.items()
        for row in one.by_subject()
    ]
    files.write_csv(out / "per_subject.csv", list(by_subject[0]), by_subject)
    last = list(tables)[-1]
    pictures.accuracy(out / "plots" / "accuracy.png", tables)
    pictures.cost(out / "plots" / "cost.png", tables)
    pictures.subjects(out / "plots" / "subjects.png", {name: results[last][name].by_subject() for name in tables[last]}, last)
    for name, one in results[last].items():
        title = f"{ENTRIES[name].title}, by {last}"
        plots.confusion(out / "plots" / "confusion" / f"{name}.png", one.confusion, one.classes, title)


def log(
    out: Path, name: str, results: Everything[MethodResults], tables: Everything[report.Scores], settings: dict[str, Any], data: str
) -> None:
    """Make one MLflow run of the comparison, with one below it for each method and protocol, once for the same figures."""
    root = env.repository() or HOME
    client, store = tracking.connect(root, name)
    import mlflow
    from mlflow.exceptions import MlflowException

    scores = {
        protocol: {name: {score: row[score] for score in figures.TITLES} for name, row in methods.items()}
        for protocol, methods in tables.items()
    }
    key = fingerprint({"settings": settings, "figures": scores, "data": data})
    try:
        with tracking.alone(root, ".register.lock", seconds=-1):  # two at once would log the comparison twice
            if experiment.find(client, store, key):
                return
            tags = {"vfer.kind": "comparison", "vfer.key": key, "data.md5": data, **tracking.experiment_tags(), **experiment.revision(HOME)}
            with mlflow.start_run(experiment_id=store, run_name="compare", tags=tags):
                mlflow.log_params({"seed": settings["seed"], "protocols": json.dumps(settings["protocols"])})
                for protocol, methods in tables.items():
                    for name, row in methods.items():
                        _log_row(client, store, protocol, name, row, results[protocol][name])
                for path in ("table.md", "table.csv", "per_subject.csv", "metrics.json"):
                    mlflow.log_artifact(str(out / path))
                mlflow.log_artifacts(str(out / "plots"), "plots")
    except MlflowException as error:
        raise refusal.failed(root, error, "run `make compare` again") from error


def _log_row(client: "MlflowClient", store: str, protocol: str, name: str, row: report.Scores, result: MethodResults) -> None:
    import mlflow
    from mlflow.entities import Metric

    flat = files.flatten({name: row[name] for name in (*figures.TITLES, "folds", "seeds", "leakage", *COSTS)}) | (
        {"p": row["p"], "p_corrected": row["p_corrected"]} if "p" in row else {}
    )
    with mlflow.start_run(experiment_id=store, run_name=f"{name} by {protocol}", nested=True, tags={"vfer.kind": "method"}) as run:
        mlflow.log_params({"method": name, "protocol": protocol})
        metrics = [Metric(key, value, run.info.start_time, 0) for key, value in flat.items()]
        for fold, scores in enumerate(result.by_fold()):
            metrics += [Metric(f"fold.{key}", value, run.info.start_time, fold) for key, value in scores.items()]
        client.log_batch(run.info.run_id, metrics=metrics)


if __name__ == "__main__":
    launch(main)
