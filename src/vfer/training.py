"""Trains a Keras classifier epoch by epoch: early stopping, resuming after a kill, byte-stable models."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.artifacts import write_bytes
from vfer.errors import VferError

Logs = dict[str, float]
OnEpoch = Callable[[int, Logs], None]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Shuffled, weighted batches whose content depends on seed, epoch and index alone.

    `make(indices, rng)` returns one batch's inputs; `targets` is float32 (n, classes), `weights` float32 (n,).
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.generic]],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        batch_size: int,
        seed: int,
        *,
        shuffle: bool,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self._make, self._targets, self._weights = make, targets, weights
        self._batch_size, self._seed, self._shuffle = batch_size, seed, shuffle
        self.start(0)

    def start(self, epoch: int) -> None:
        """Puts the examples into the order of an epoch."""
        self._epoch = epoch
        order = np.arange(len(self._targets))
        self._order = np.random.default_rng([self._seed, epoch]).permutation(order) if self._shuffle else order

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.generic], NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = self._make(chosen, np.random.default_rng([self._seed, self._epoch, index]))
        return inputs, self._targets[chosen], self._weights[chosen]


@dataclass(frozen=True)
class Fit:
    """What `fit` returns: one row of figures an epoch, and the epoch (from 0) whose weights the model now has."""

    history: list[Logs]
    best: int

    def rows(self) -> list[dict[str, float]]:
        """Returns the history with the epochs' numbers, from 1."""
        return [{"epoch": number, **logs} for number, logs in enumerate(self.history, start=1)]


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    *,
    epochs: int,
    patience: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
) -> Fit:
    """Trains a compiled model and leaves it with the weights of its lowest validation loss.

    It stops after `patience` epochs without a lower one. With a checkpoint folder, a run that was killed goes on after
    its last whole epoch. Raises `VferError` where the loss is no longer a number.
    """
    store = _Checkpoint(checkpoint, model) if checkpoint else None
    history = store.restore() if store else []
    best = _best(history)
    best_weights = store.best_weights() if store and history else model.get_weights()
    for epoch in range(len(history), epochs):
        if history and epoch - best > patience:
            break
        train.start(epoch)
        # Unless told not to, Keras shuffles the batches by Python's global generator, which a resumed training has elsewhere.
        result = model.fit(train, validation_data=validation, shuffle=False, verbose=0)
        logs = {name: float(values[-1]) for name, values in result.history.items()}
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            raise VferError(f"epoch {epoch + 1}: the loss is no longer a number; lower the learning rate")
        history.append(logs)
        if best != (best := _best(history)) or epoch == 0:
            best_weights = model.get_weights()
        if store:
            store.save(history, is_best=best == epoch)
        on_epoch(epoch, logs)
    model.set_weights(best_weights)
    return Fit(history, best)


def _best(history: list[Logs]) -> int:
    return min(range(len(history)), key=lambda epoch: history[epoch]["val_loss"], default=0)


class _Checkpoint:
    def __init__(self, folder: Path, model: keras.Model) -> None:
        self._folder, self._model = folder, model

    def restore(self) -> list[Logs]:
        """Gives the model the weights and optimiser state of the last whole epoch; returns the figures so far."""
        state = self._folder / "state.json"
        if not state.is_file():
            return []
        content = json.loads(state.read_text())
        saved = keras.models.load_model(self._folder / content["model"])
        self._model.set_weights(saved.get_weights())
        self._model.optimizer.build(self._model.trainable_variables)
        for variable, value in zip(self._model.optimizer.variables, saved.optimizer.variables, strict=True):
            variable.assign(value)
        for variable, value in zip(_seeds(self._model), content["seeds"], strict=True):
            variable.assign(value)
        return list(content["history"])

    def best_weights(self) -> list[NDArray[np.generic]]:
        content = json.loads((self._folder / "state.json").read_text())
        return list(keras.models.load_model(self._folder / content["best"], compile=False).get_weights())

    def save(self, history: list[Logs], *, is_best: bool) -> None:
        """Saves the model under the epoch's name, then the state that names it: a kill between the two loses one epoch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        epoch = len(history)
        name = f"epoch-{epoch}.keras"
        self._model.save(self._folder / name)
        state = self._folder / "state.json"
        best = name if is_best else json.loads(state.read_text())["best"]
        seeds = [np.asarray(seed).tolist() for seed in _seeds(self._model)]
        write_bytes(state, json.dumps({"model": name, "best": best, "seeds": seeds, "history": history}).encode())
        for file in sorted(self._folder.glob("epoch-*.keras")):
            if file.name not in (name, best):
                file.unlink()


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of the dropouts' random generators, which a saved model lacks."""
    return [variable for variable in model.non_trainable_variables if variable.name == "seed_generator_state"]


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Seeds Python, NumPy and TensorFlow; deterministic operations make a second training on one machine the same to the last bit."""
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def compile_classifier(
    model: keras.Model, *, learning_rate: float, steps: int, weight_decay: float = 0.0, label_smoothing: float = 0.0
) -> None:
    """Compiles a model of one-hot targets with AdamW: gradients clipped, a warm-up of 5 % of the steps, then a cosine to zero."""
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 100, max(1, steps - warmup), warmup_target=learning_rate, warmup_steps=warmup
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=weight_decay, global_clipnorm=1.0),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=["accuracy"],
        weighted_metrics=[],
        jit_compile=False,  # on CPUs XLA costs more than it gains for these nets
    )


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> NDArray[np.float32]:
    """Returns a weight an example, float32 (n,), of mean 1: 0 weighs all alike, 1 gives every class the same say."""
    counts = np.bincount(labels, minlength=classes)
    weights = (1 / np.maximum(counts, 1) ** balance)[labels]
    return np.asarray(weights / weights.mean(), dtype=np.float32)
