"""Fine-tunes a CNN to the crops of the clips that are trained on; `benchmarks.sequences --tune` does so once a fold."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vfer import env
from vfer.cli import console
from vfer.cnn.data import StillPart
from vfer.cnn.params import CnnParams
from vfer.data.split import SplitRow
from vfer.data.stills import SIDE
from vfer.faces.table import Faces
from vfer.nets.session import Session

RECIPE: dict[str, object] = {
    "weights": "trained",
    "dropout": 0.4,
    "looks": 1,
    "head": "label",
    "frozen_epochs": 2,
    "frozen_learning_rate": 0.003,
    "monitor": "loss",
    "batch_size": 32,
    "warmup": 0.1,
    "weight_decay": 0.05,
    "averaging": 0.98,
    "label_smoothing": 0.1,
    "augmentation": 0.6,
    "erasing": 0.3,
    "mixup": 0,
    "class_balance": 0.5,
    "votes": 0,
    "distillation": 0,
    "progressive": False,
    "drop_duplicates": False,
    "precision": "auto",
    "deterministic": False,
}


def recipe(session: Session, architecture: str, epochs: int, learning_rate: float) -> CnnParams:
    """Return the params of fine-tuning a network that `session` runs; the epoch of the lowest validation loss is kept."""
    width = session(np.zeros((1, SIDE, SIDE, 1)))["embedding"].shape[1]
    chosen = {"architecture": architecture, "embedding": width, "epochs": epochs, "patience": epochs, "learning_rate": learning_rate}
    return CnnParams.model_validate(RECIPE | chosen)


def tuned(
    start: Path, rows: list[SplitRow], crops: Mapping[str, Faces], names: list[str], chosen: CnnParams, seed: int, out: Path
) -> Session:
    """Fine-tune the network `start`, a Keras file, to the clips of the part train and return it; those of validation choose the epoch."""
    parts = {part: stills([row for row in rows if row.part == part], crops, names) for part in ("train", "validation")}
    env.prepare_tensorflow(chosen.precision)
    with console.hushed():
        import keras

        from vfer.cnn import model as cnn_model
        from vfer.cnn import train
        from vfer.nets import export

        keras.backend.clear_session()
        model, _ = train.train(parts, len(names), chosen, seed, None, lambda *_: None, start)
        model = cnn_model.answering(model, cnn_model.head(model, "labels"), 1)
        export.save_onnx(model, out, parts["validation"].pixels[:16, ..., None].astype(np.float32), names)
    return Session(out, threads=env.workers())


def stills(rows: list[SplitRow], crops: Mapping[str, Faces], names: list[str]) -> StillPart:
    """Return all crops with a face of the clips, each under its clip's expression."""
    shown = [(row, crops[row.clip].crop[crops[row.clip].present]) for row in rows if row.clip in crops]
    labels = np.concatenate([np.full(len(faces), names.index(row.expression)) for row, faces in shown])
    return StillPart(np.concatenate([faces for _, faces in shown]), labels, np.eye(len(names), dtype=np.float32)[labels])
