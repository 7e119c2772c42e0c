"""One MLflow run per experiment, identified by the hash of everything it depends on."""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfer.evaluate import plots
from vfer.register import tracking
from vfer.register.inputs import Inputs

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDERS = ("evaluate", "curves")
MOST_PARAM = 500  # characters of a param's value that MLflow's stores take


def find(client: "MlflowClient", experiment: str, key: str, *, finished: bool = True) -> str | None:
    """Return the id of the run of the same experiment, if there is one that was not deleted; one that is `finished` comes first."""
    query = f"tags.`vfer.key` = '{key}'" + (" and attributes.status = 'FINISHED'" if finished else "")
    runs = client.search_runs([experiment], query, max_results=1, order_by=["attributes.start_time ASC"])
    return str(runs[0].info.run_id) if runs else None


def whole(client: "MlflowClient", run_id: str) -> bool:
    """Return whether a run has ended, and has its files."""
    from mlflow.exceptions import MlflowException

    try:
        files = all(client.list_artifacts(run_id, folder) for folder in FOLDERS)
    except (MlflowException, OSError):
        return False
    return files and client.get_run(run_id).info.status == "FINISHED"


def tags(inputs: Inputs) -> dict[str, str]:
    """Return what leads from the run to the data, the DVC experiment and the training runs."""
    return {
        "vfer.kind": "experiment",
        "vfer.key": inputs.key,
        "vfer.pretrain": str(inputs.metrics["pretrain"]["weights"]),
        **{f"vfer.run.{stage}": inputs.runs[stage] for stage in inputs.trained_stages},
        "data.md5": str(inputs.data.get("md5", "")),
        **tracking.experiment_tags(),
    }


def revision(home: Path) -> dict[str, str]:
    """Return the commit that the run was made from, and whether files differed from it; nothing outside git."""

    def git(*words: str) -> str:
        process = subprocess.run(["git", "-C", str(home), *words], capture_output=True, text=True, check=False)
        return process.stdout.strip() if process.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = bool(git("status", "--porcelain", "--", ":!*dvc.lock"))  # those that DVC itself rewrites
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}


def log(client: "MlflowClient", run_id: str, inputs: Inputs) -> None:
    """Log all params, the final figures, the dataset, the tables and the pictures of an experiment."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    now = int(time.time() * 1000)
    params = [Param(name, str(value)[:MOST_PARAM]) for name, value in flat(inputs.params).items()]
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in inputs.figures().items()], params=params)
    dataset = Dataset("data", str(inputs.data.get("md5", ""))[:36], "dvc", json.dumps({"path": "data.dvc", **inputs.data}))
    dataset_input = DatasetInput(dataset, [InputTag("mlflow.data.context", "training and test")])
    tracking.again(lambda: client.log_inputs(run_id, [dataset_input]))
    client.log_artifacts(run_id, str(inputs.outputs / "evaluate"), FOLDERS[0])
    with tempfile.TemporaryDirectory() as folder:
        for stage in inputs.trained_stages:
            plots.curves(Path(folder) / f"{stage}.png", inputs.history(stage), stage)
        client.log_artifacts(run_id, folder, FOLDERS[1])


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections under dotted names, such as `lstm.units`."""
    rows: dict[str, Any] = {}
    for name, value in content.items():
        rows |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return rows
