"""The state of a training on disk, so that a run that was killed continues after its last whole epoch."""

import json
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from numpy.typing import NDArray

from vfer.files import write_bytes
from vfer.nets.average import Average

Logs = dict[str, float]
Weights = list[NDArray[np.generic]]
Monitor = Literal["loss", "accuracy"]


def best_epoch(history: list[Logs], monitor: Monitor) -> int:
    """Return the epoch, from 0, of the best validation; the last one if nothing was validated."""
    if history and "val_loss" not in history[-1]:
        return len(history) - 1

    def worse(epoch: int) -> tuple[float, float]:
        loss, accuracy = history[epoch]["val_loss"], history[epoch]["val_accuracy"]
        return (loss, 0) if monitor == "loss" else (-accuracy, loss)

    return min(range(len(history)), key=worse, default=0)


class Checkpoint:
    """The last whole epoch, and the weights of the best one: `epoch-<n>.keras` and, of the average, `average-<n>.weights.h5`."""

    def __init__(self, folder: Path, model: keras.Model, average: Average, monitor: Monitor) -> None:
        self._folder, self._model, self._average, self._monitor = folder, model, average, monitor

    def location(self, epochs: int) -> str:
        """Return where the model after so many epochs is kept, for a message; nothing if there is none."""
        return f"; the model of epoch {epochs} is kept as {self._folder / self._model_of(epochs)}" if epochs else ""

    def restore(self) -> tuple[list[Logs], Weights]:
        """Give the model, its optimiser and the average the state of the last whole epoch; return all figures and the best weights."""
        state = self._folder / "state.json"
        if not state.is_file():
            return [], self._model.get_weights()
        content = json.loads(state.read_bytes())
        history: list[Logs] = content["history"]
        best = self._load(self._weights_of(best_epoch(history, self._monitor) + 1))
        if self._average.decay:
            self._load(self._weights_of(len(history)))
            self._average.restore(content["steps"])
        self._load(self._model_of(len(history)))
        for variable, value in zip(_seeds(self._model), content["seeds"], strict=True):
            variable.assign(value)
        return history, best

    def _load(self, name: str) -> Weights:
        self._model.load_weights(self._folder / name)
        return list(self._model.get_weights())

    def save(self, history: list[Logs]) -> None:
        """Save the model under the epoch's name, then the state that names it: a kill between the two loses one epoch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        epoch, best = len(history), best_epoch(history, self._monitor) + 1
        self._model.save(self._folder / self._model_of(epoch))
        if self._average.decay:
            with self._average.applied():
                self._model.save_weights(self._folder / self._weights_of(epoch))
        seeds = [np.asarray(seed).tolist() for seed in _seeds(self._model)]
        state = {"seeds": seeds, "steps": self._average.steps, "history": history}
        write_bytes(self._folder / "state.json", json.dumps(state).encode())
        current_files = {"state.json", self._model_of(epoch), self._weights_of(epoch), self._weights_of(best)}
        for file in sorted(self._folder.iterdir()):
            if file.is_file() and file.name.startswith(("epoch-", "average-")) and file.name not in current_files:
                file.unlink()

    def _model_of(self, epoch: int) -> str:
        return f"epoch-{epoch}.keras"

    def _weights_of(self, epoch: int) -> str:
        return f"average-{epoch}.weights.h5" if self._average.decay else self._model_of(epoch)


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """Return the states of the dropouts' random generators, which a saved model lacks."""
    return [variable for variable in model.non_trainable_variables if variable.name == "seed_generator_state"]
