"""Train the sequence model on the clips' embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.features.cache import Embeddings
from vfer.lstm.baseline import Baseline
from vfer.lstm.params import LstmParams
from vfer.lstm.sequences import pad
from vfer.nets import sequences, training
from vfer.nets.batches import Batches
from vfer.nets.training import Fit, OnEpoch

Draw = Callable[[int, np.random.Generator], Baseline]
"""Returns a baseline for a clip by its row, at random."""


@dataclass(frozen=True, eq=False)
class ClipPart:
    """The clips of one part: their frames, none empty, and class numbers, int64 (n,).

    With `draw`, a clip that is trained on is moved by a baseline that is drawn for it.
    """

    clips: Sequence[Embeddings]
    labels: NDArray[np.int64]
    draw: Draw | None = None


def train(
    data: dict[str, ClipPart], classes: int, params: LstmParams, seed: int, checkpoint: Path | None, on_epoch: OnEpoch
) -> tuple[keras.Model, Fit]:
    """Build the sequence model, train it on the part `train`, and keep the epoch that does best on `validation`.

    Args:
        data: The parts `train` and `validation`; without the latter the last epoch is kept.
        classes: Number of expressions.
        params: The section `lstm`.
        seed: Seed of all randomness.
        checkpoint: Folder from which an interrupted training resumes; None for none.
        on_epoch: Called with each epoch, counted from 0, and its figures.

    Returns:
        The model and the course of its training.
    """
    training.seed_everything(seed, deterministic=params.deterministic)
    train_batches = batches(data["train"], classes, params, seed, fitted=True)
    model = build(data["train"], classes, params, seed)
    classifier = keras.Model(model.input, model.output["probabilities"], name="classifier")
    training.compile_classifier(
        classifier,
        learning_rate=params.learning_rate,
        steps=len(train_batches) * params.epochs,
        weight_decay=params.weight_decay,
        label_smoothing=params.label_smoothing,
    )
    fit = training.fit(
        classifier,
        train_batches,
        batches(data["validation"], classes, params, seed, fitted=False) if "validation" in data else None,
        epochs=params.epochs,
        patience=params.patience,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        least=params.epochs // 2,  # while the learning rate is high, the loss rises and falls by chance
    )
    return model, fit


def build(part: ClipPart, classes: int, params: LstmParams, seed: int) -> keras.Model:
    """Return the untrained model, whose scaling is that of the frames of a part as it is trained on."""
    rng = np.random.default_rng(seed)
    clips = [_moved(part, row, rng) for row in range(len(part.clips))]
    scaling = sequences.scaling(np.concatenate([clip.values for clip in clips]), median_step(clips))
    return sequences.build(
        params.architecture,
        clips[0].values.shape[1],
        classes,
        params.units,
        params.dropout,
        scaling,
        input_dropout=params.input_dropout,
        noise=params.noise,
    )


def median_step(clips: Sequence[Embeddings]) -> float:
    """Return the median time between frames that follow each other, in seconds; 1 where no clip has two."""
    steps = np.concatenate([np.diff(clip.time) for clip in clips])
    return float(np.median(steps)) if len(steps) else 1.0


def batches(part: ClipPart, classes: int, params: LstmParams, seed: int, *, fitted: bool) -> Batches:
    """Return padded batches of the inputs of the model; those it is fitted to are shuffled, changed at random and class-weighted.

    All have the length of the part's longest clip, so that they have one shape but for their number of clips.
    """
    longest = min(max(map(len, part.clips)), params.max_frames)

    def make(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        clips = [_vary(_moved(part, row, rng), params, rng) if fitted else part.clips[row] for row in rows.tolist()]
        return pad(clips, longest)

    weights = training.class_weights(part.labels, classes, params.class_balance if fitted else 0)
    targets = np.eye(classes, dtype=np.float32)[part.labels]
    return Batches(make, targets, weights, params.batch_size, seed, shuffle=fitted)


def _moved(part: ClipPart, row: int, rng: np.random.Generator) -> Embeddings:
    clip = part.clips[row]
    return clip.moved(part.draw(row, rng)) if part.draw else clip


def _vary(clip: Embeddings, params: LstmParams, rng: np.random.Generator) -> Embeddings:
    """Return a clip without some of its frames, played faster or slower: as other cameras and detectors might have seen it."""
    mask = rng.random(len(clip)) >= params.frame_dropout * rng.random()
    mask[rng.integers(len(clip))] = True
    speed = 1 + params.time_jitter * rng.uniform(-1, 1)
    return Embeddings(clip.values[mask], clip.time[mask] * speed)
