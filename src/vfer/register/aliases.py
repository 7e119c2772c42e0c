"""The aliases of the registered models: `challenger` is the newest, `champion` the best so far by a contest."""

from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING

from vfer.register import tracking
from vfer.register.gate import Verdict
from vfer.register.project import Names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PAUSE = 2.0  # seconds between taking an alias on a shared server and looking again; far longer than a server needs to set one
ROUNDS = 5  # of taking the alias and losing it again

Judge = Callable[["ModelVersion"], Verdict]
"""Compares the new version with the champion, which is another model."""


def settle(client: "MlflowClient", names: Names, versions: dict[str, str], key: str, judge: Judge, pause: float = 0) -> Verdict:
    """Give the new versions the alias `challenger`, and `champion` where the end-to-end model wins its contest.

    MLflow has no "set the alias if it is still there", and a lock of this machine holds no other one back. So `pause` seconds after
    setting `champion` it is looked at again, and whoever took it meanwhile is the one to beat.
    """
    _set(client, names.project, "challenger", versions[names.project])
    _follow(client, names, "challenger")
    verdict = _contend(client, names, versions[names.project], key, judge, pause)
    if verdict.promoted:
        _follow(client, names, "champion")
    return verdict


def _contend(client: "MlflowClient", names: Names, version: str, key: str, judge: Judge, pause: float) -> Verdict:
    outcome: Verdict | None = None
    for _ in range(ROUNDS):
        champion = _champion(client, names)
        if _number(champion) == version:
            return outcome or Verdict(True, "it is the champion already")
        if champion and champion.tags.get("vfer.key") == key:
            verdict = Verdict(True, f"it is the same model as the champion, version {champion.version}, logged again")
            if outcome:
                return outcome  # another machine has logged the same model, and took its turn
        else:
            verdict = judge(champion) if champion else Verdict(True, "there was no champion")
        if not verdict.promoted:
            return verdict
        if _number(_champion(client, names)) == _number(champion):
            _set(client, names.project, "champion", version)
            outcome = verdict
            sleep(pause)
    return Verdict(False, "other machines keep moving the alias champion; run `dvc repro -f -s register` when they have ended")


def _follow(client: "MlflowClient", names: Names, alias: str) -> None:
    """Give the networks the alias that the end-to-end model has, on the versions of the same run; again where that moved meanwhile."""
    last = None
    while _number(leader := client.get_model_version_by_alias(names.project, alias)) != last:
        for version in client.search_model_versions(f"run_id = '{leader.run_id}'"):
            if version.name in (names.cnn, names.lstm):
                _set(client, version.name, alias, str(version.version))
        last = _number(leader)


def _set(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    tracking.again(lambda: client.set_registered_model_alias(name, alias, version))


def _number(version: "ModelVersion | None") -> str | None:
    return str(version.version) if version else None


def _champion(client: "MlflowClient", names: Names) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(names.project, "champion")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
