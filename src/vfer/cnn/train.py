"""Train the CNN on stills."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from vfer.cnn import model as cnn_model
from vfer.cnn import transfer
from vfer.cnn.augment import augment
from vfer.cnn.data import StillPart, Stills
from vfer.cnn.head import Head, fused
from vfer.cnn.params import CnnParams, FitParams
from vfer.data.catalogue.stills import SIDE
from vfer.nets import training
from vfer.nets.batches import Batches
from vfer.nets.checkpoint import Logs
from vfer.nets.training import Fit, OnEpoch

GROWING = ((0.3, 32), (0.6, 40), (1.0, SIDE))
"""Up to which share of the epochs the faces have how many pixels a side, with `cnn.progressive`."""


def train(
    data: dict[str, StillPart],
    classes: int,
    params: CnnParams,
    seed: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
    start: Path | None = None,
) -> tuple[keras.Model, Fit]:
    """Build the CNN, train it on the part `train`, and stop early on `validation`.

    Args:
        data: The stills of each usage.
        classes: Number of expressions.
        params: The section `cnn`.
        seed: Seed of all randomness.
        checkpoint: Folder from which an interrupted training resumes; None for none.
        on_epoch: Called with each epoch, counted from 0, and its figures.
        start: A Keras model whose weights the backbone begins with; only the rest is trained for the first `frozen_epochs`.

    Returns:
        The model, in float32, and the course of the training.

    Raises:
        WeightsError: `start` has another architecture.
    """
    training.seed_everything(seed, deterministic=params.deterministic)
    keras.config.set_dtype_policy(training.precision(params.precision))
    votes = data["train"].votes.shape[1]
    model = _build(params, classes, votes, None if params.progressive else SIDE)
    phases = [Phase("whole", params.epochs, params.learning_rate, [])]
    if start:
        phases.insert(0, Phase("frozen", params.frozen_epochs, params.frozen_learning_rate, transfer.load(model, start)))
    fit = run(model, data, classes, params, phases, seed, checkpoint, on_epoch, votes=params.votes, progressive=params.progressive)
    # Inference on CPUs has no bfloat16.
    keras.config.set_dtype_policy("float32")
    single = _build(params, classes, votes, SIDE)
    single.set_weights(model.get_weights())
    return single, fit


def _build(params: CnnParams, classes: int, votes: int, side: int | None) -> keras.Model:
    return cnn_model.build(params.architecture, classes, params.embedding, params.dropout, votes=votes, side=side)


def finish(model: keras.Model, params: CnnParams, inputs: Stills) -> tuple[keras.Model, list[str], Head]:
    """Let a trained model answer by the head and the looks of its params.

    Returns:
        The model that `cnn_model.answering` returns, the names of its classes, and its answering head.

    Raises:
        DataError: An expression of the labels has no votes, although the vote head is to answer.
    """
    labels, train = cnn_model.head(model, "labels"), inputs.parts["train"]
    answer, classes = labels, inputs.classes
    if params.head != "label":
        votes, columns = cnn_model.head(model, "votes"), inputs.columns()
        voted = train.votes[train.votes.any(axis=1)]
        priors = train.targets.mean(axis=0), voted.mean(axis=0)
        answer, classes = (votes, inputs.votes) if params.head == "votes" else (fused(labels, votes, columns, priors), classes)
    return cnn_model.answering(model, answer, params.looks), classes, answer


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: its epochs, its learning rate, and the layers that keep their weights meanwhile."""

    name: str
    epochs: int
    learning_rate: float
    frozen: list[keras.layers.Layer]


def run(
    model: keras.Model,
    data: dict[str, StillPart],
    classes: int,
    params: FitParams,
    phases: Sequence[Phase],
    seed: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
    *,
    votes: float = 0,
    progressive: bool = False,
) -> Fit:
    """Fit a model, as `cnn_model.build` returns it, in phases, one at least, of which each begins with what the one before has left.

    Args:
        model: The model, whose weights change.
        data: The faces of the usages `train` and `validation`.
        classes: Number of expressions.
        params: How to fit.
        phases: The phases.
        seed: Seed of all randomness.
        checkpoint: Folder from which an interrupted training resumes; None for none.
        on_epoch: Called with each epoch, counted from 0 over all phases, and its figures.
        votes: Weight of the head `votes` in the loss, where the faces have votes.
        progressive: Whether the faces begin small.

    Returns:
        The course of all phases; the model has the weights of the best epoch of the last one.
    """
    history: list[Logs] = []
    for phase in phases:
        before = len(history)
        for layer in model.layers:
            layer.trainable = layer not in phase.frozen
        classifier = cnn_model.classifier(model)
        train_batches = StillBatches(data["train"], classes, params, seed, epochs=phase.epochs, progressive=progressive)
        training.compile_classifier(
            classifier,
            learning_rate=phase.learning_rate,
            steps=len(train_batches) * phase.epochs,
            warmup=params.warmup,
            weight_decay=params.weight_decay,
            label_smoothing=params.label_smoothing,
            heads=(classes, votes) if data["train"].votes.shape[1] else None,
        )
        fit = training.fit(
            classifier,
            train_batches,
            StillBatches(data["validation"], classes, params, seed, progressive=progressive),
            epochs=phase.epochs,
            patience=params.patience,
            checkpoint=checkpoint / phase.name if checkpoint else None,
            on_epoch=partial(_later, on_epoch, before),
            averaging=params.averaging,
            monitor=params.monitor,
        )
        best = before + fit.best
        history += fit.history
    return Fit(history, best)


def _later(on_epoch: OnEpoch, before: int, epoch: int, logs: Logs) -> None:
    on_epoch(before + epoch, logs)


class StillBatches(Batches):
    """Batches of faces, float32 (n, side, side, 1), with the targets of both heads side by side.

    With `epochs`, the number that the model is fitted for, they are shuffled, augmented, mixed and weighted by class. Each still is
    mirrored in every other epoch, which shows a net more than mirroring by chance does. Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds
    on a Single GPU", 2024.
    """

    def __init__(self, part: StillPart, classes: int, params: FitParams, seed: int, *, epochs: int = 0, progressive: bool = False) -> None:
        self._part, self._params, self._epochs, self._progressive = part, params, epochs, progressive
        self._parity = np.random.default_rng(seed).random(len(part.labels)) < 0.5
        weights = training.class_weights(part.labels, classes, params.class_balance if epochs else 0)
        targets = np.concatenate([part.targets, part.votes], axis=1)
        mixup = params.mixup if epochs else 0
        super().__init__(self._faces, targets, weights, params.batch_size, seed, shuffle=bool(epochs), mixup=mixup)

    def _faces(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        pixels, params = self._part.pixels[rows], self._params
        if self._epochs:
            mirrored = self._parity[rows] ^ bool(self._epoch % 2) if params.augmentation else None
            pixels = augment(pixels, rng, params.augmentation, params.erasing, mirrored)
            if self._progressive and (side := self._side()) < SIDE:
                pixels = np.stack([cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in pixels])
        return pixels[..., np.newaxis].astype(np.float32)

    def _side(self) -> int:
        return next(side for share, side in GROWING if self._epoch < share * self._epochs)

    def signature(self, part: NDArray[Any]) -> tuple[int | None, ...]:
        """Return the shape of a batch's part, whose faces may have other sizes later."""
        return (None, None, None, 1) if part.ndim == 4 and self._progressive else super().signature(part)
