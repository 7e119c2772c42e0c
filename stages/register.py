"""`register`: makes the experiment's MLflow run and registers its models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages import HOME, ParamsFile, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.clips.store import Store
from vfer.data.catalogue import split
from vfer.faces import weights
from vfer.faces.params import FacesParams
from vfer.nets.session import Session
from vfer.register import address, aliases, experiment, models, project, record, refusal, tracking
from vfer.register.contest import Contest
from vfer.register.inputs import Inputs, collect
from vfer.register.params import RegisterParams
from vfer.register.project import Names
from vfer.register.record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient


def main(
    outputs: Annotated[Path, typer.Option(help="Folder of the stages' outputs.")],
    clips: Annotated[Path, typer.Option(help="The clips' manifest, a CSV file.")],
    data: Annotated[Path, typer.Option(help="The DVC file that names the data's version.")],
    detector: Annotated[Path, typer.Option("--weights", help="Folder of the detector's weights.")],
    config: ParamsFile,
    out: Annotated[Path, typer.Option(help="Folder for what was registered.")],
) -> None:
    """Log the experiment once, however often it runs; make what is missing of it again, and hold the contest for `champion`."""
    section = params.load(config, "register", RegisterParams)
    with console.Stage("register") as stage:
        inputs = collect(outputs, config, data)
        rows = split.read(outputs / "lstm" / "split.parquet")
        challenger = record.collect(outputs, inputs.params, Session(inputs.model("lstm", "onnx")).classes, rows)
        detector_used = weights.choose(params.load(config, "faces", FacesParams), detector) if "cnn" in inputs.networks else None
        root = env.repository() or HOME
        names = Names(project.name(config, root))
        client, experiment_id = tracking.connect(root, names.project)
        tracking.allow_uploads()
        from mlflow.exceptions import MlflowException

        try:
            with tracking.alone(root, ".register.lock", seconds=-1):  # two at once would log the experiment twice
                run_id, versions = logged(client, experiment_id, names, inputs, challenger, detector_used)
                contest = Contest(client, challenger, inputs.key, clips, section.significance, Store(env.store()))
                pause = aliases.PAUSE if address.is_shared(root) else 0
                verdict = aliases.settle(client, names, versions, inputs.key, contest.judge, pause)
        except MlflowException as error:
            raise refusal.failed(root, error, "nothing is lost: fix it and run `dvc repro`") from error
        registration = {"run_id": run_id, "experiment_id": experiment_id, "key": inputs.key, "versions": versions}
        files.write_json(out / "register.json", {**registration, "champion": verdict.promoted, "reason": verdict.reason})
        alias = "champion" if verdict.promoted else "challenger"
        stage.summary = (
            f"run {run_id}, models {', '.join(f'{name} v{version}' for name, version in versions.items())} ({alias}: {verdict.reason})"
        )


def logged(
    client: "MlflowClient", experiment_id: str, names: Names, inputs: Inputs, challenger: Record, detector: weights.ChosenDetector | None
) -> tuple[str, dict[str, str]]:
    """Return the experiment's run and the registered versions; make what is missing, a run only where there is none."""
    import mlflow

    run_id = experiment.find(client, experiment_id, inputs.key, finished=False)
    versions = registered(client, inputs.key, run_id) if run_id else {}
    gone = models.missing(client, names, inputs, versions)
    whole = run_id is not None and experiment.whole(client, run_id)
    if run_id is None or gone or not whole:
        if run_id is None:
            tags = experiment.tags(inputs) | experiment.revision(HOME)
            run_id = str(client.create_run(experiment_id, run_name=env.experiment() or "repro", tags=tags).info.run_id)
        with mlflow.start_run(run_id=run_id):
            if not whole:
                experiment.log(client, run_id, inputs)
            logged_models = models.log(gone, names, inputs, challenger, detector, inputs.outputs / "faces" / "clips")
            for model, version in logged_models.items():
                client.set_model_version_tag(model, version, "vfer.key", inputs.key)
        versions |= logged_models
    for name, value in experiment.tags(inputs).items():
        client.set_tag(run_id, name, value)
    return run_id, versions


def registered(client: "MlflowClient", key: str, run_id: str) -> dict[str, str]:
    """Return the versions that an earlier run of the same experiment registered, by name."""
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    return {version.name: str(version.version) for version in versions if version.tags.get("vfer.key") == key}


if __name__ == "__main__":
    launch(main)
