"""`register`: makes the experiment's MLflow run and registers its models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from filelock import FileLock

from stages import HOME, launch
from vfer import env, files, params
from vfer.cli import console
from vfer.faces import weights
from vfer.faces.params import FacesParams
from vfer.register import aliases, experiment, models, tracking
from vfer.register.inputs import Inputs, collect
from vfer.register.params import RegisterParams

if TYPE_CHECKING:
    from mlflow import MlflowClient


def main(
    outputs: Annotated[Path, typer.Option(help="Folder of the stages' outputs.")],
    data: Annotated[Path, typer.Option(help="The DVC file that names the data's version.")],
    detector: Annotated[Path, typer.Option("--weights", help="Folder of the detector's weights.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for what was registered.")],
) -> None:
    """Logs the experiment once, however often it runs; makes its run again where it was deleted."""
    chosen = params.load(config, "register", RegisterParams)
    with console.Stage("register") as stage:
        inputs = collect(outputs, config, data)
        found = weights.choose(params.load(config, "faces", FacesParams), detector)
        root = env.repository() or HOME
        client, experiment_id = tracking.connect(root)
        tracking.allow_uploads()
        from mlflow.exceptions import MlflowException

        try:
            with FileLock(root / "mlruns" / ".register.lock"):  # two at once would log the experiment twice
                run_id = experiment.find(client, experiment_id, inputs.key)
                versions = registered(client, inputs.key, run_id) if run_id else {}
                if run_id is None or len(versions) < len(models.NAMES):
                    run_id, versions = log(client, experiment_id, inputs, found, outputs / "faces" / "clips")
                for name, value in experiment.tags(inputs).items():
                    client.set_tag(run_id, name, value)
                pause = aliases.PAUSE if tracking.is_shared(root) else 0
                verdict = aliases.settle(client, versions, inputs, outputs / "faces" / "clips", chosen.significance, pause)
        except MlflowException as error:
            raise tracking.failed(root, error, "nothing is lost: mend it and run `dvc repro`") from error
        made = {"run_id": run_id, "experiment_id": experiment_id, "key": inputs.key, "versions": versions}
        files.write_json(out / "register.json", {**made, "champion": verdict.promoted, "reason": verdict.reason})
        alias = "champion" if verdict.promoted else "challenger"
        stage.made = (
            f"run {run_id}, models {', '.join(f'{name} v{version}' for name, version in versions.items())} ({alias}: {verdict.reason})"
        )


def log(client: "MlflowClient", experiment_id: str, inputs: Inputs, detector: weights.Chosen, faces: Path) -> tuple[str, dict[str, str]]:
    """Makes the experiment's run with its models; returns its id and the registered versions."""
    import mlflow

    name = env.experiment() or "repro"
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=experiment.tags(inputs) | experiment.revision(HOME)) as run:
        experiment.log(client, run.info.run_id, inputs)
        versions = models.log_all(inputs, detector, faces)
        for model, version in versions.items():
            client.set_model_version_tag(model, version, "vfer.key", inputs.key)
    return str(run.info.run_id), versions


def registered(client: "MlflowClient", key: str, run_id: str) -> dict[str, str]:
    """Returns the versions that an earlier run of the same experiment registered, by name."""
    found = client.search_model_versions(f"run_id = '{run_id}'")
    return {version.name: str(version.version) for version in found if version.tags.get("vfer.key") == key}


if __name__ == "__main__":
    launch(main)
