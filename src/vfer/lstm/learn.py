"""Learn a sequence model from the clips of a split: training, people's baselines, and the temperature of its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vfer.data.catalogue.split import SplitRow
from vfer.features.cache import Embeddings
from vfer.lstm import baseline, people, settings
from vfer.lstm.params import LstmParams
from vfer.lstm.sequences import pad
from vfer.lstm.settings import SequenceSettings
from vfer.lstm.train import ClipPart, median_step, train
from vfer.nets import calibration, reference
from vfer.nets.scores import score
from vfer.nets.training import Fit, OnEpoch


class KerasNetwork:
    """A Keras model that runs as a `Session` does.

    Args:
        model: A model of named inputs and outputs.
        classes: Names of its classes.
        metadata: What its ONNX file would hold.
    """

    def __init__(self, model: keras.Model, classes: list[str], metadata: Mapping[str, str]) -> None:
        self.inputs, self.classes, self.metadata = [tensor.name for tensor in model.inputs], classes, dict(metadata)
        signature = {tensor.name: tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs}
        self._run = tf.function(lambda batch: model(batch, training=False), [signature])

    def __call__(self, batch: Mapping[str, NDArray[np.float32]], /) -> dict[str, NDArray[np.float32]]:
        """Run one batch."""
        return {name: np.asarray(value, np.float32) for name, value in self._run(dict(batch)).items()}


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained sequence model: what its ONNX file holds beside the network, its figures on validation, and its training's course."""

    model: keras.Model
    metadata: dict[str, str]
    figures: dict[str, Any]
    fit: Fit
    sample: dict[str, NDArray[np.float32]]


def learn(
    rows: Sequence[SplitRow],
    names: list[str],
    embeddings: Mapping[str, Embeddings],
    params: LstmParams,
    seed: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
) -> TrainedModel:
    """Train on the part `train` of a split and choose the epoch and the temperature on `validation`; look at no test clip.

    Args:
        rows: The split; one clip at least of both parts shows a face.
        names: The classes.
        embeddings: Frames that show a face, by clip.
        params: The section `lstm`.
        seed: Seed of all randomness.
        checkpoint: Folder from which an interrupted training resumes; None for none.
        on_epoch: Called with each epoch, counted from 0, and its figures.
    """
    usable = [row for row in rows if row.part != "test" and len(embeddings[row.clip])]
    train_rows, validation_rows = ([row for row in usable if row.part == part] for part in ("train", "validation"))
    course = _Course(train_rows, names, embeddings, params)
    validation = course.validation(validation_rows)
    model, fit = train({"train": course.part, "validation": validation}, len(names), params, seed, _inside(checkpoint, "train"), on_epoch)
    figures, temperature = _score(KerasNetwork(model, names, course.metadata()), usable, embeddings, course.settings)
    if params.refit:
        course = _Course(usable, names, embeddings, params)
        model, _ = train({"train": course.part}, len(names), params, seed, _inside(checkpoint, "refit"), lambda *_: None)
    calibration.soften(model, temperature)
    some = validation.clips[:8]
    return TrainedModel(model, course.metadata(), figures, fit, pad(some, min(params.max_frames, max(map(len, some)))))


def _inside(folder: Path | None, name: str) -> Path | None:
    return folder / name if folder else None


class _Course:
    """What a training learns from: its clips, their people, and how the model is to be used afterwards."""

    def __init__(self, rows: Sequence[SplitRow], names: list[str], embeddings: Mapping[str, Embeddings], params: LstmParams) -> None:
        self._rows, self._names, self._embeddings, self._params = rows, names, embeddings, params
        clips = people.clips_of(rows, embeddings, people.labelled_neutral(rows, params.neutral))
        self._everybody = people.reference(clips)
        draw = None if params.baseline == "none" else people.Acquaintance(clips, params.baseline, self._everybody)
        self.part = ClipPart(clips.embeddings, self._labels(rows), draw)
        self.settings = SequenceSettings(
            baseline=params.baseline,
            neutral=params.neutral,
            neutral_clips=params.neutral_clips,
            max_frames=params.max_frames,
            step=median_step(clips.embeddings),
            seconds=float(np.median([clip.time[-1] - clip.time[0] for clip in clips.embeddings])),
        )

    def _labels(self, rows: Sequence[SplitRow]) -> NDArray[np.int64]:
        return np.array([self._names.index(row.expression) for row in rows], np.int64)

    def metadata(self) -> dict[str, str]:
        """Return what the model's ONNX file must hold beside the network."""
        return {reference.KEY: self._everybody.to_json(), settings.KEY: self.settings.model_dump_json()}

    def validation(self, held_out: Sequence[SplitRow]) -> ClipPart:
        """Return clips to validate on: as they are and, where the model is to know their people, relative to their baselines, too.

        For `iterative`, which needs a trained model, the clips labelled neutral take the place of those that it would find.
        """
        plain = [self._embeddings[row.clip] for row in held_out]
        if self._params.baseline == "none":
            return ClipPart(plain, self._labels(held_out))
        clips = people.clips_of(held_out, self._embeddings, people.labelled_neutral(held_out, self._params.neutral))
        mode: baseline.Mode = "subject" if self._params.baseline == "subject" else "neutral"
        moved = [clip.moved(own) for clip, own in zip(plain, people.baselines(clips, mode, self._everybody), strict=True)]
        return ClipPart([*plain, *moved], np.tile(self._labels(held_out), 2))


def _score(
    network: KerasNetwork, rows: Sequence[SplitRow], embeddings: Mapping[str, Embeddings], sequence_settings: SequenceSettings
) -> tuple[dict[str, Any], float]:
    """Return the figures of the plain answers on validation, those relative to baselines, and the temperature of both together."""
    modes: dict[str, baseline.Mode] = {"validation": "none"}
    if sequence_settings.baseline != "none":
        modes["validation_baseline"] = sequence_settings.baseline
    outcomes = {}
    for name, mode in modes.items():
        scored_rows, probabilities = people.answers(
            network, rows, embeddings, sequence_settings.model_copy(update={"baseline": mode}), "validation"
        )
        outcomes[name] = probabilities, np.array([network.classes.index(row.expression) for row in scored_rows], np.int64)
    everything = [np.concatenate(parts) for parts in zip(*outcomes.values(), strict=True)]
    temperature = calibration.temperature(*everything)
    figures: dict[str, Any] = {
        name: asdict(score(truth, probabilities.argmax(axis=1).astype(np.int64), len(network.classes)))
        | {"log_loss": calibration.log_loss(calibration.softened(probabilities, temperature), truth)}
        for name, (probabilities, truth) in outcomes.items()
        if len(truth)
    }
    return figures | {"temperature": temperature}, temperature
