"""A contest with the registered champion: its record, its predictions, and a count of the looks at the test clips."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfer.clips.store import Recipe, Store
from vfer.data.catalogue import manifest
from vfer.errors import DataError
from vfer.register import gate, record, replay, tracking
from vfer.register.gate import EarlierChallenger, Verdict
from vfer.register.record import ClipAnswer, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LOOK = "vfer.look."  # the tag of the champion's version for each challenger whose test answers were looked at; their number is the account


@dataclass(frozen=True)
class Contest:
    """The challenger's side: its record and key, the manifest of its clips, the level of significance, and where answers are kept."""

    client: "MlflowClient"
    own: Record
    key: str
    manifest: Path
    significance: float
    store: Store

    def judge(self, champion: "ModelVersion") -> Verdict:
        """Judge the challenger against a champion; a look at the test clips is noted down on the champion's version."""
        name = f"version {champion.version}"
        folder = _download(champion)
        try:
            theirs = record.read(_artifact(folder, "record"))
        except DataError:
            remedy = f"delete the alias champion of {champion.name} in MLflow, and the next model takes it"
            return Verdict(False, f"no contest: {name} does not say what it has learned from; {remedy}")
        looks = self._looks(champion)
        verdict = gate.contest(self.own, theirs, name, looks, self.significance, lambda clips: self._ask(champion, folder, clips))
        if verdict.looked:
            self._note(champion)
        return verdict

    def _looks(self, champion: "ModelVersion") -> list[EarlierChallenger]:
        """Return the looks before this challenger's own first one."""
        noted = {name.removeprefix(LOOK): json.loads(value) for name, value in champion.tags.items() if name.startswith(LOOK)}
        before = noted[self.key]["time"] if self.key in noted else float("inf")
        return [EarlierChallenger(**look["look"]) for key, look in sorted(noted.items()) if key != self.key and look["time"] < before]

    def _note(self, champion: "ModelVersion") -> None:
        if f"{LOOK}{self.key}" in champion.tags:
            return
        look = EarlierChallenger("an earlier challenger", self.own.validation, self.own.validated)
        value = json.dumps({"time": time.time(), "look": asdict(look)})
        tracking.again(lambda: self.client.set_model_version_tag(champion.name, str(champion.version), f"{LOOK}{self.key}", value))

    def _ask(self, champion: "ModelVersion", folder: Path, clips: Sequence[ClipAnswer]) -> Mapping[str, str | None]:
        if not clips or self.own.rules.baseline != "none":  # which other clips of a person it would know is a matter of its own test
            return {}
        paths = {clip.clip: self.manifest.parent / clip.path for clip in manifest.read(self.manifest)}
        videos = {clip.digest: paths[clip.clip] for clip in clips if clip.clip in paths}
        recipe = Recipe("answers", str(champion.tags.get("vfer.key", champion.run_id)))
        return replay.replay(folder, videos, self.store, recipe)


def _download(version: "ModelVersion") -> Path:
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(f"models:/{version.name}/{version.version}"))


def _artifact(folder: Path, name: str) -> Path:
    """Return the path of an artifact of a model; nowhere, within the folder, where there is none."""
    from mlflow.models import Model

    artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
    return folder / (artifacts[name]["path"] if name in artifacts else name)
