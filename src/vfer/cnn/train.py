"""Trains the CNN on stills."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer import training
from vfer.cnn import model as cnn_model
from vfer.cnn.augment import augment
from vfer.cnn.data import Part
from vfer.cnn.params import CnnParams
from vfer.scores import Scores, score
from vfer.session import Session
from vfer.training import Batches, Fit, OnEpoch


def train(
    data: dict[str, Part], classes: int, params: CnnParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch
) -> tuple[keras.Model, Fit]:
    """Builds the CNN, trains it on the part `train`, and stops early on `validation`."""
    training.seed_everything(seed, deterministic=params.deterministic)
    keras.config.set_dtype_policy(params.precision)
    model = cnn_model.build(params.architecture, classes, params.embedding, params.dropout)
    classifier = cnn_model.classifier(model)
    fitted = batches(data["train"], classes, params, seed, fitted=True)
    training.compile_classifier(
        classifier,
        learning_rate=params.learning_rate,
        steps=len(fitted) * params.epochs,
        weight_decay=params.weight_decay,
        label_smoothing=params.label_smoothing,
    )
    held_out = batches(data["validation"], classes, params, seed, fitted=False)
    fit = training.fit(
        classifier, fitted, held_out, epochs=params.epochs, patience=params.patience, checkpoint=checkpoint, on_epoch=on_epoch
    )
    return model, fit


def batches(part: Part, classes: int, params: CnnParams, seed: int, *, fitted: bool) -> Batches:
    """Returns batches of crops, float32 (n, 48, 48, 1); those the model is fitted to are shuffled, augmented and class-weighted."""

    def make(chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        pixels = part.pixels[chosen]
        if fitted:
            pixels = augment(pixels, rng, params.augmentation)
        return pixels[..., np.newaxis].astype(np.float32)

    weights = training.class_weights(part.labels, classes, params.class_balance if fitted else 0)
    targets = np.eye(classes, dtype=np.float32)[part.labels]
    return Batches(make, targets, weights, params.batch_size, seed, shuffle=fitted)


def test(session: Session, part: Part, classes: int) -> Scores:
    """Scores the ONNX twin on stills."""
    pixels = part.pixels[..., np.newaxis]
    predicted = [session(pixels[at : at + 256])["probabilities"].argmax(axis=1) for at in range(0, len(pixels), 256)]
    return score(part.labels, np.concatenate(predicted), classes)
