"""The aliases of the registered models: `challenger` is the newest, `champion` the best that a test has shown."""

import json
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfer import features
from vfer.data import split
from vfer.faces import table
from vfer.lstm.sequences import predict
from vfer.nets.session import Session
from vfer.register import tracking
from vfer.register.gate import Verdict, compare
from vfer.register.inputs import Inputs
from vfer.register.models import NAMES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PAUSE = 2.0  # seconds between taking an alias on a shared server and looking again; far longer than a server needs to set one
ROUNDS = 5  # of taking the alias and losing it again


def settle(client: "MlflowClient", versions: dict[str, str], inputs: Inputs, faces: Path, significance: float, pause: float = 0) -> Verdict:
    """Gives the new versions the alias `challenger`, and `champion` where the end-to-end model deserves it.

    MLflow has no "set the alias if it is still there", and a lock of this machine holds no other one back. So `pause` seconds after
    setting `champion` it is looked at again, and whoever took it meanwhile is the one to beat.
    """
    _set(client, NAMES["vfer"], "challenger", versions[NAMES["vfer"]])
    _follow(client, "challenger")
    verdict = _contend(client, versions[NAMES["vfer"]], inputs, faces, significance, pause)
    if verdict.promoted:
        _follow(client, "champion")
    return verdict


def _contend(client: "MlflowClient", own: str, inputs: Inputs, faces: Path, significance: float, pause: float) -> Verdict:
    taken: Verdict | None = None
    for _ in range(ROUNDS):
        champion = _champion(client)
        if _number(champion) == own:
            return taken or Verdict(True, "it is the champion already")
        if taken and champion and champion.tags.get("vfer.key") == inputs.key:
            return taken  # another machine has logged the same model, and took its turn
        verdict = _judge(champion, inputs, faces, significance)
        if not verdict.promoted:
            return verdict
        if _number(_champion(client)) == _number(champion):
            _set(client, NAMES["vfer"], "champion", own)
            taken = verdict
            sleep(pause)
    return Verdict(False, "other machines keep moving the alias champion; run `dvc repro -f -s register` when they have ended")


def _follow(client: "MlflowClient", alias: str) -> None:
    """Gives the networks the alias that `vfer` has, on the versions of the same run; again where `vfer`'s moved meanwhile."""
    done = None
    while _number(leader := client.get_model_version_by_alias(NAMES["vfer"], alias)) != done:
        for version in client.search_model_versions(f"run_id = '{leader.run_id}'"):
            if version.name in (NAMES["cnn"], NAMES["lstm"]):
                _set(client, version.name, alias, str(version.version))
        done = _number(leader)


def _set(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    tracking.again(lambda: client.set_registered_model_alias(name, alias, version))


def _judge(champion: "ModelVersion | None", inputs: Inputs, faces: Path, significance: float) -> Verdict:
    if champion is None:
        return Verdict(True, "there was no champion")
    if champion.tags.get("vfer.key") == inputs.key:
        return Verdict(True, f"it is the same model as the champion, version {champion.version}, logged again")
    rows = [row for row in split.read(inputs.outputs / "lstm" / "split.parquet") if row.part == "test"]
    own = [inputs.model(stage, "onnx") for stage in ("cnn", "lstm")]
    most = int(inputs.params["lstm"]["max_frames"])
    files = _artifacts(champion)
    theirs = json.loads(files["settings"].read_text())
    other = [files["cnn"], files["lstm"]]
    return compare(_right(rows, own, faces, most), _right(rows, other, faces, int(theirs["max_frames"])), significance)


def _number(version: "ModelVersion | None") -> str | None:
    return str(version.version) if version else None


def _champion(client: "MlflowClient") -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(NAMES["vfer"], "champion")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _artifacts(version: "ModelVersion") -> dict[str, Path]:
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    folder = Path(download_artifacts(f"models:/{version.name}/{version.version}"))
    artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
    return {name: folder / artifact["path"] for name, artifact in artifacts.items()}


def _right(rows: list[split.Row], models: list[Path], faces: Path, most: int) -> NDArray[np.bool_]:
    """Which test clips a model gets right, on the present crops; an expression that it does not know counts as wrong."""
    cnn, lstm = (Session(path) for path in models)
    clips = [features.embed(cnn, row.clip, table.read(faces / f"{row.clip}.parquet"), 256).faces for row in rows]
    probabilities = predict(lstm, clips, most)
    answers = [None if np.isnan(row).any() else lstm.classes[int(row.argmax())] for row in probabilities]
    return np.array([answer == row.expression for answer, row in zip(answers, rows, strict=True)])
