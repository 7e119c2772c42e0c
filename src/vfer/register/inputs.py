"""The outputs of the stages that an experiment consists of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vfer.clips.fingerprint import fingerprint
from vfer.errors import DataError
from vfer.files import flatten, read_figures

CODE = ("vfer.predict.models.pyfunc",)
METRICS = ("frames", "faces", "pretrain", "cnn", "tune", "features", "lstm", "evaluate")


@dataclass(frozen=True)
class Inputs:
    """The params, metrics, data version and training runs of one experiment, and the hash that names it."""

    outputs: Path
    params: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    data: dict[str, Any]
    runs: dict[str, str]
    key: str

    def figures(self) -> dict[str, float]:
        """Return every figure under a dotted name; those of `evaluate`, on the test clips, are under `test`."""
        return {
            name: value
            for stage, content in self.metrics.items()
            for name, value in flatten(content, f"{'test' if stage == 'evaluate' else stage}.").items()
        }

    def history(self, stage: str) -> list[dict[str, float]]:
        """Return the training history of one of the stages `trained`, one row per epoch."""
        return read_figures(self.outputs / stage / "history.csv")

    def model(self, stage: str, kind: str) -> Path:
        """Return the path of the CNN or the sequence model; `kind` is `onnx` or `keras`."""
        folder = "tune" if stage == "cnn" else stage  # which passes on the CNN that it does not tune
        return self.outputs / folder / f"model.{kind}"

    @property
    def networks(self) -> list[str]:
        """The stages whose networks make the model: `cnn`, unless the features are those of another tool, and `lstm`."""
        return ["cnn", "lstm"] if self.metrics["features"]["source"] == "cnn" else ["lstm"]

    @property
    def trained_stages(self) -> list[str]:
        """The stages that trained something: `lstm`, and `pretrain`, `cnn` and `tune` where they did."""
        return [stage for stage, run in self.runs.items() if run]


def version(data: Path) -> dict[str, Any]:
    """Return the hash, the size and the number of files that a DVC file gives; raise `DataError` if it gives none."""
    try:
        tracked = yaml.safe_load(data.read_bytes())["outs"][0]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{data}: names no version of the data ({error}); restore it with `git checkout {data.name}`") from error
    return {name: tracked[name] for name in ("md5", "size", "nfiles") if name in tracked}


def collect(outputs: Path, params: Path, data: Path) -> Inputs:
    """Read the outputs of the stages; raise `DataError` if one is missing.

    The key is the fingerprint of params, metrics, models, data version, and the code and packages of the registered model; neither the time
    nor the runs that trained the models count, nor when a model is champion. So the same experiment has the same key wherever it runs.
    """
    try:
        settings = yaml.safe_load(params.read_bytes())
        metrics = {stage: json.loads((outputs / stage / "metrics.json").read_bytes()) for stage in METRICS}
        dataset = version(data)
        runs = {stage: json.loads((outputs / stage / "run.json").read_bytes())["run_id"] for stage in ("pretrain", "cnn", "tune", "lstm")}
        models = [outputs / stage / "model.onnx" for stage in ("tune", "lstm")]
        content = {
            "params": {name: section for name, section in settings.items() if name != "register"},
            "metrics": metrics,
            "data": dataset,
        }
        key = fingerprint(content, code=CODE, inputs=models)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{outputs}: an earlier stage's output is missing or damaged ({error}); run `dvc repro`") from error
    return Inputs(outputs, settings, metrics, dataset, runs, key)
