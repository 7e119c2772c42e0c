"""Training of the CNN in images a second, against a bare `model.fit` of the same net on an array in memory.

Ours is `vfer.nets.training.fit` over the batches that `stages.cnn` makes: shuffled, augmented, erased and mixed while the net trains, with
averaged weights, and validated on one batch at the end. Bare is Keras's `fit` on the finished float32 array, shuffled by Keras, with
nothing else. Both are compiled alike, on all cores; an epoch of each in turn, after one that is not counted. Ratios are of one round each.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks import processes
from benchmarks.repository import HOME
from benchmarks.rows import Goal, Row, in_turn, ratios, row
from vfer import env

NETS = {"mini_xception": 8192, "resnet": 4096}  # and the stills of an epoch
CLASSES, BATCH = 7, 128
ROUNDS = 3
LEAST = 0.95


def run(scratch: Path, real_data: Path | None) -> list[Row]:  # noqa: ARG001
    """Measure each net in a process of its own."""
    rows = []
    for net, stills in NETS.items():
        command = [sys.executable, "-m", "benchmarks.training", net, str(stills)]
        speed: dict[str, list[float]] = json.loads(processes.run(command, HOME, PYTHONPATH=str(HOME / "src")).splitlines()[-1])
        kind = speed.pop("kind")
        rows += [row(f"{net} ({kind}): {name}", samples, "images/s") for name, samples in speed.items()]
        rows.append(row(f"{net}: ours, of a bare fit", ratios(speed["ours"], speed["a bare fit"]), "x", Goal(least=LEAST)))
    return rows


def main(net: str, stills: int) -> None:
    """Print the speeds as one line of JSON."""
    env.prepare_tensorflow("auto")
    import keras
    import numpy as np

    from vfer import params
    from vfer.cnn import model, train
    from vfer.cnn.data import StillPart
    from vfer.cnn.params import CnnParams
    from vfer.nets import training

    kind = training.precision("auto")
    changes = {"architecture": net, "batch_size": BATCH, "averaging": 0.998, "mixup": 0.2, "deterministic": False, "precision": kind}
    section = params.load(HOME / "params.yaml", "cnn", CnnParams).model_copy(update=changes)
    keras.config.set_dtype_policy(kind)
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, stills)
    part = StillPart(random.integers(0, 255, (stills, 48, 48)).astype(np.uint8), labels, np.eye(CLASSES, dtype=np.float32)[labels])
    few = StillPart(part.pixels[:BATCH], part.labels[:BATCH], part.targets[:BATCH])
    array = part.pixels[..., np.newaxis].astype(np.float32)

    def compile_model() -> keras.Model:
        output = model.classifier(model.build(net, CLASSES, section.embedding, section.dropout))
        training.compile_classifier(output, learning_rate=1e-4, steps=1000)
        return output

    own, bare = compile_model(), compile_model()

    def ours() -> object:
        batches = (train.StillBatches(one, CLASSES, section, 0, epochs=epochs) for one, epochs in ((part, 1), (few, 0)))
        return training.fit(own, *batches, epochs=1, patience=1, checkpoint=None, on_epoch=lambda *_: None, averaging=section.averaging)

    def fit() -> object:
        return bare.fit(array, part.targets, batch_size=BATCH, verbose=0)

    tasks = {"ours": lambda: _seconds(ours), "a bare fit": lambda: _seconds(fit)}
    in_turn(tasks, 1)
    speed: dict[str, object] = {name: [stills / one for one in samples] for name, samples in in_turn(tasks, ROUNDS).items()}
    sys.stdout.write(json.dumps(speed | {"kind": kind}) + "\n")


def _seconds(way: Callable[[], object]) -> float:
    start = perf_counter()
    way()
    return perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
