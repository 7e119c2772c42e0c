"""Exports the CNN of params.yaml, untrained: it takes as long as a trained one. Run as `python -m benchmarks.model PARAMS OUT`."""

import sys
from pathlib import Path

from benchmarks import processes
from benchmarks.repository import HOME

CLASSES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def build(scratch: Path) -> Path:
    """Return the model of this run, which the first benchmark that needs it makes, in a process of its own (TensorFlow)."""
    path = scratch / "run" / "cnn.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.model", str(HOME / "params.yaml"), str(path)]
        processes.run(command, HOME, PYTHONPATH=str(HOME / "src"), TF_ENABLE_ONEDNN_OPTS="0")
    return path


def main(config: Path, out: Path) -> None:
    """Build and export the network."""
    import keras
    import numpy as np

    from vfer import params
    from vfer.cnn import model
    from vfer.cnn.params import CnnParams
    from vfer.nets import export

    section = params.load(config, "cnn", CnnParams)
    keras.utils.set_random_seed(0)
    network = model.build(section.architecture, len(CLASSES), section.embedding, section.dropout)
    network = model.answering(network, model.head(network, "labels"), section.looks)
    export.save_onnx(network, out, np.random.default_rng(0).uniform(0, 255, (2, 48, 48, 1)).astype(np.float32), CLASSES)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
