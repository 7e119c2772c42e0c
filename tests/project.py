"""A repository's outputs as the first six stages leave them, from toy networks: for tests of what comes after the training."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toys
import yaml

from stages.evaluate import main as evaluate
from stages.features import main as cache
from stages.register import main as register
from stages.tune import pass_on
from vfer.data.catalogue import identical, learned, manifest, places, split
from vfer.data.catalogue.split import SplitParams
from vfer.faces import table
from vfer.files import write_csv, write_json

HOME = Path(__file__).resolve().parents[1]
SUBJECTS = 9  # three test
LEARNED = [{"epoch": i, "accuracy": 0.5, "loss": 1.0, "val_accuracy": 0.5, "val_loss": 1.0} for i in (1, 2)]


@dataclass(frozen=True)
class Project:
    """A repository's outputs, as the first six stages leave them, in a folder with an MLflow store."""

    root: Path

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def arguments(self) -> tuple[Path, Path, Path, Path, Path, Path]:
        names = ("data/clips.csv", "data.dvc", "weights", "params.yaml", "outputs/register")
        clips, data, weights, config, out = (self.root / name for name in names)
        return self.outputs, clips, data, weights, config, out

    def register(self) -> dict[str, Any]:
        register(*self.arguments())
        return dict(json.loads((self.outputs / "register" / "register.json").read_text()))

    def train(self, save: Callable[[Path], Path], validation: float = 0.5, **lstm: object) -> None:
        """Put another sequence model in place, with an accuracy on validation and other params of its section, and evaluate it."""
        path = self.outputs / "lstm" / "metrics.json"
        write_json(path, json.loads(path.read_text()) | {"validation": {"accuracy": validation}})
        content = yaml.safe_load((HOME / "params.yaml").read_text())
        content["lstm"] |= lstm
        content["register"]["name"] = "vfer"
        (self.root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        model = save(self.outputs / "lstm" / "model.onnx")
        model.with_suffix(".keras").write_bytes(b"a Keras model")
        cache = self.outputs / "features" / "features.parquet"
        cnn, tune, lstm, out = (self.outputs / stage for stage in ("cnn", "tune", "lstm", "evaluate"))
        evaluate(cache, cnn, tune, lstm, self.root / "stills.parquet", self.root / "params.yaml", out)


def make(root: Path) -> Project:
    """Make a project whose sequence model is still to be trained."""
    (root / "weights").mkdir()
    (root / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  size: 5\n  nfiles: 2\n  path: data\n")
    toys.dataset(root / "data", toys.clips(SUBJECTS, 3))
    fill(root / "outputs", root / "data")
    return Project(root)


def fill(outputs: Path, data: Path) -> None:
    """Write what the stages before `evaluate` make of a dataset and later ones read, but for the sequence model."""
    clips = manifest.read(data / "clips.csv")
    digests = identical.digests(clips, data, None, 1)
    params, known = SplitParams(protocol="subject", folds=3, fold=0), places.read(data / places.FILE)
    rows = split.split(clips, [clip.expression for clip in clips], params, 7, outputs, known, digests)
    split.write(outputs / "lstm" / "split.parquet", rows)
    for i, row in enumerate(rows):  # the first clip of all shows no face
        faces = toys.faces(toys.LEVELS[row.expression], none=(0, 1, 2, 3) if i == 0 else (), seed=i)
        table.write(outputs / "faces" / "clips" / f"{row.clip}.parquet", faces)
    toys.cnn(outputs / "cnn" / "model.onnx").with_suffix(".keras").write_bytes(b"a Keras model")
    toys.write_stills(outputs.parent / "stills.parquet", outputs / "cnn" / "predictions.parquet", outputs / "cnn" / "model.onnx")
    learned.write(outputs / "cnn" / learned.FILE, [])
    pass_on(outputs / "cnn", outputs / "tune")
    for stage in ("frames", "faces", "pretrain", "cnn", "lstm"):
        write_json(outputs / stage / "metrics.json", {"clips": 36, "test": {"accuracy": 0.5}, "detector": "centerface", "weights": "none"})
    write_json(outputs / "pretrain" / "weights" / "weights.json", {"weights": "none"})
    write_json(outputs / "pretrain" / "run.json", {"run_id": ""})
    write_csv(outputs / "pretrain" / "history.csv", list(LEARNED[0]), [])
    for stage in ("cnn", "lstm"):
        write_json(outputs / stage / "run.json", {"run_id": f"{stage}-run"})
        write_csv(outputs / stage / "history.csv", list(LEARNED[0]), LEARNED)
    cache(outputs / "faces" / "clips", outputs / "tune" / "model.onnx", data / "clips.csv", HOME / "params.yaml", outputs / "features")
