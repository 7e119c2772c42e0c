"""Trains the CNN on stills."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.cnn import model as cnn_model
from vfer.cnn import transfer
from vfer.cnn.augment import augment
from vfer.cnn.data import Part
from vfer.cnn.params import CnnParams
from vfer.nets import training
from vfer.nets.training import Batches, Fit, Logs, OnEpoch


def train(
    data: dict[str, Part], classes: int, params: CnnParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch, start: Path | None = None
) -> tuple[keras.Model, Fit]:
    """Builds the CNN, trains it on the part `train`, and stops early on `validation`.

    Where `start` names a Keras model, the backbone begins with its weights, and only the rest is trained for the first
    `frozen_epochs`. Raises `WeightsError` where it has another architecture.
    """
    training.seed_everything(seed, deterministic=params.deterministic)
    keras.config.set_dtype_policy(training.precision(params.precision))
    model = cnn_model.build(params.architecture, classes, params.embedding, params.dropout)
    phases = [Phase("whole", params.epochs, params.learning_rate, [])]
    if start:
        phases.insert(0, Phase("frozen", params.frozen_epochs, params.frozen_learning_rate, transfer.load(model, start)))
    history: list[Logs] = []
    for phase in phases:
        done = len(history)
        fit = _fit(model, data, classes, params, phase, seed, checkpoint, partial(_later, on_epoch, done))
        best = done + fit.best
        history += fit.history
    model = _single(model, params, classes)
    return cnn_model.mirrored(model) if params.flip_average else model, Fit(history, best)


def _single(model: keras.Model, params: CnnParams, classes: int) -> keras.Model:
    """Returns a model that computes in float32 with the weights of one that may compute in bfloat16, which inference on CPUs lacks."""
    keras.config.set_dtype_policy("float32")
    single = cnn_model.build(params.architecture, classes, params.embedding, params.dropout)
    single.set_weights(model.get_weights())
    return single


def _later(on_epoch: OnEpoch, done: int, epoch: int, logs: Logs) -> None:
    on_epoch(done + epoch, logs)


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: its epochs, its learning rate, and the layers that keep their weights meanwhile."""

    name: str
    epochs: int
    learning_rate: float
    frozen: list[keras.layers.Layer]


def _fit(
    model: keras.Model,
    data: dict[str, Part],
    classes: int,
    params: CnnParams,
    phase: Phase,
    seed: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
) -> Fit:
    for layer in model.layers:
        layer.trainable = layer not in phase.frozen
    classifier = cnn_model.classifier(model)
    fitted = batches(data["train"], classes, params, seed, fitted=True)
    training.compile_classifier(
        classifier,
        learning_rate=phase.learning_rate,
        steps=len(fitted) * phase.epochs,
        warmup=params.warmup,
        weight_decay=params.weight_decay,
        label_smoothing=params.label_smoothing,
    )
    return training.fit(
        classifier,
        fitted,
        batches(data["validation"], classes, params, seed, fitted=False),
        epochs=phase.epochs,
        patience=params.patience,
        checkpoint=checkpoint / phase.name if checkpoint else None,
        on_epoch=on_epoch,
        averaging=params.averaging,
        monitor=params.monitor,
    )


def batches(part: Part, classes: int, params: CnnParams, seed: int, *, fitted: bool) -> Batches:
    """Returns batches of crops, float32 (n, 48, 48, 1); those the model is fitted to are shuffled, augmented, mixed and class-weighted."""

    def make(chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        pixels = part.pixels[chosen]
        if fitted:
            pixels = augment(pixels, rng, params.augmentation, params.erasing)
        return pixels[..., np.newaxis].astype(np.float32)

    weights = training.class_weights(part.labels, classes, params.class_balance if fitted else 0)
    return Batches(make, part.targets, weights, params.batch_size, seed, shuffle=fitted, mixup=params.mixup if fitted else 0)
