"""Fine-tunes a trained CNN on faces of clips."""

from pathlib import Path

import keras
from keras import layers

from vfer.cnn import model as cnn_model
from vfer.cnn import transfer
from vfer.cnn.data import StillPart
from vfer.cnn.params import TuneParams
from vfer.cnn.train import Phase, run
from vfer.nets import training
from vfer.nets.training import Fit, OnEpoch


def tune(
    start: Path, data: dict[str, StillPart], classes: int, params: TuneParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch
) -> tuple[keras.Model, Fit]:
    """Give a CNN a new classifier and train both on the part `train`; the epoch that does best on `validation` is kept.

    Args:
        start: The CNN, a Keras file as the stage `cnn` writes it.
        data: The faces of the clips of each part.
        classes: Number of the clips' expressions.
        params: The section `tune`.
        seed: Seed of all randomness.
        checkpoint: Folder from which an interrupted training resumes; None for none.
        on_epoch: Called with each epoch, counted from 0, and its figures.

    Returns:
        The network, as `cnn_model.answering` returns it, and the course of the training.

    Raises:
        WeightsError: `start` is not a Keras model.
    """
    keras.backend.clear_session()  # or the names that Keras gives would tell how many networks were tuned before
    training.seed_everything(seed, deterministic=params.deterministic)
    keras.config.set_dtype_policy("float32")
    base = cnn_model.single(transfer.read(start))
    cut = base.output["embedding"]
    answer = layers.Dense(classes, activation="softmax", dtype="float32", name="labels")(layers.Dropout(params.dropout, name="tune")(cut))
    model = keras.Model(base.input, {"embedding": cut, "labels": answer}, name=base.name)
    phases = [
        Phase("frozen", params.frozen_epochs, params.frozen_learning_rate, [layer for layer in model.layers if layer.name != "labels"]),
        Phase("whole", params.epochs, params.learning_rate, []),
    ]
    fit = run(model, data, classes, params, phases, seed, checkpoint, on_epoch)
    return cnn_model.answering(model, cnn_model.head(model, "labels"), params.looks), fit
