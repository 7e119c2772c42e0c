"""Trains the sequence model on the clips' embeddings."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.lstm import model as lstm_model
from vfer.lstm.params import LstmParams
from vfer.lstm.sequences import pad
from vfer.nets import training
from vfer.nets.training import Batches, Fit, OnEpoch


@dataclass(frozen=True)
class Part:
    """The clips of one part: embeddings, float32 (frames, d) each, none empty, and class numbers, int64 (n,)."""

    sequences: list[NDArray[np.float32]]
    labels: NDArray[np.int64]


def train(
    data: dict[str, Part], classes: int, params: LstmParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch
) -> tuple[keras.Model, Fit]:
    """Builds the sequence model, trains it on the part `train`, and stops early on `validation`."""
    training.seed_everything(seed, deterministic=params.deterministic)
    model = lstm_model.build(data["train"].sequences[0].shape[1], classes, params.units, params.dropout)
    classifier = keras.Model(model.input, model.output["probabilities"], name="classifier")
    fitted = batches(data["train"], classes, params, seed, fitted=True)
    training.compile_classifier(classifier, learning_rate=params.learning_rate, steps=len(fitted) * params.epochs)
    held_out = batches(data["validation"], classes, params, seed, fitted=False)
    fit = training.fit(
        classifier, fitted, held_out, epochs=params.epochs, patience=params.patience, checkpoint=checkpoint, on_epoch=on_epoch
    )
    return model, fit


def batches(part: Part, classes: int, params: LstmParams, seed: int, *, fitted: bool) -> Batches:
    """Returns padded batches, float32 (n, longest, d); those the model is fitted to are shuffled and class-weighted.

    The longest is that of the whole part, since all batches have one shape but for their number of clips.
    """
    longest = min(max(map(len, part.sequences)), params.max_frames)

    def make(chosen: NDArray[np.int64], _: np.random.Generator) -> NDArray[np.float32]:
        return pad([part.sequences[i] for i in chosen], longest, full=True)

    weights = training.class_weights(part.labels, classes, params.class_balance if fitted else 0)
    targets = np.eye(classes, dtype=np.float32)[part.labels]
    return Batches(make, targets, weights, params.batch_size, seed, shuffle=fitted)
