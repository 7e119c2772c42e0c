"""The training of a Keras classifier, epoch by epoch: early stopping, averaged weights, and resuming after a kill."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vfer import env
from vfer.errors import VferError
from vfer.nets.average import Average
from vfer.nets.batches import Batches
from vfer.nets.checkpoint import Checkpoint, Logs, Monitor, best_epoch

OnEpoch = Callable[[int, Logs], None]


@dataclass(frozen=True)
class Fit:
    """What `fit` returns: one row of figures an epoch, and the epoch (from 0) whose weights the model now has."""

    history: list[Logs]
    best: int

    def rows(self) -> list[dict[str, float]]:
        """Return the history with the epochs' numbers, from 1."""
        return [{"epoch": number, **logs} for number, logs in enumerate(self.history, start=1)]


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches | None,
    *,
    epochs: int,
    patience: int,
    checkpoint: Path | None,
    on_epoch: OnEpoch,
    averaging: float = 0,
    monitor: Monitor = "loss",
    least: int = 0,
) -> Fit:
    """Train a compiled model and leave it with the weights of its best validation: the lowest loss, or the highest accuracy.

    Without validation it runs all epochs and keeps the last weights.
    It stops after `patience` epochs without a better one, but not within the first `least`. With `averaging`, the decay a step, the
    weights that are validated and kept are a running average of those that are trained. With a checkpoint folder, an interrupted run
    resumes after its last complete epoch.
    Raises `VferError` if the loss is no longer a number; it names the step, and the weights of the last whole epoch.
    """
    average = Average(model, averaging)
    # Its state comes with a checkpoint, and a first step that made it would be traced twice.
    model.optimizer.build(model.trainable_variables)
    store = Checkpoint(checkpoint, model, average, monitor) if checkpoint else None
    history, best_weights = store.restore() if store else ([], model.get_weights())
    best = best_epoch(history, monitor)
    train_data, validation_data = train.dataset(), validation.dataset() if validation else None
    for epoch in range(len(history), epochs):
        if epoch >= least and history and epoch - best > patience:
            break
        train.start(epoch)
        watch = _Watch(epoch, store.location(epoch) if store else "", average)
        result = model.fit(train_data, shuffle=False, verbose=0, callbacks=[watch])  # told to shuffle a dataset, Keras warns that it cannot
        logs = {name: float(values[-1]) for name, values in result.history.items()}
        with average.applied():
            if validation_data:
                logs |= {f"val_{name}": value for name, value in model.evaluate(validation_data, verbose=0, return_dict=True).items()}
                watch.check(logs["val_loss"], len(train))
            history.append(logs)
            if best != (best := best_epoch(history, monitor)) or epoch == 0:
                best_weights = model.get_weights()
        if store:
            store.save(history)
        on_epoch(epoch, logs)
    model.set_weights(best_weights)
    return Fit(history, best)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Watches each step of an epoch: stops where the loss is not a number, and lets the average follow."""

    def __init__(self, epoch: int, location: str, average: Average) -> None:
        super().__init__()
        self._epoch, self._location, self._average = epoch, location, average

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.check(float(logs["loss"]), batch + 1)
        self._average.follow()

    def check(self, loss: float, step: int) -> None:
        """Raise `VferError` if the loss after a step, counted from 1, is not a number."""
        if not math.isfinite(loss):
            raise VferError(
                f"epoch {self._epoch + 1}, step {step}: the loss is no longer a number; lower the learning rate{self._location}"
            )


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Seed Python, NumPy and TensorFlow; deterministic operations make a second training on one machine the same to the last bit."""
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def compile_classifier(
    model: keras.Model,
    *,
    learning_rate: float,
    steps: int,
    warmup: float = 0.05,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    heads: tuple[int, float] | None = None,
) -> None:
    """Compile a classifier with AdamW: gradients clipped, a warm-up, then a cosine to zero, no decay of norms and biases.

    Args:
        model: A model of probabilities, whose targets are shares of the classes.
        learning_rate: The highest one.
        steps: Number of all batches.
        warmup: Share of the steps in which the learning rate rises.
        weight_decay: That of AdamW.
        label_smoothing: Share of a target that is spread over all classes.
        heads: Of two heads with concatenated probabilities, the number of classes of the first, and the weight of the second in
            the loss. Rows of zeros are targets that the second head has none of.
    """
    rising = max(1, int(steps * warmup))
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 100, max(1, steps - rising), warmup_target=learning_rate, warmup_steps=rising
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, global_clipnorm=1.0)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss, metric = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing), keras.metrics.CategoricalAccuracy("accuracy")
    model.compile(
        optimizer=optimizer,
        loss=_two_headed(*heads, loss) if heads else loss,
        metrics=[_FirstHead(heads[0])] if heads else [metric],  # a name would have the first step traced twice
        weighted_metrics=[],
        jit_compile=False,  # on CPUs XLA costs more than it gains for these nets
    )


def _two_headed(
    classes: int, weight: float, first: keras.losses.Loss
) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    def loss(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        votes = keras.losses.categorical_crossentropy(targets[:, classes:], answers[:, classes:])
        return first.call(targets[:, :classes], answers[:, :classes]) + weight * votes

    return loss


class _FirstHead(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]  # Keras has no types
    """Accuracy of the first of two heads."""

    def __init__(self, classes: int) -> None:
        super().__init__("accuracy")
        self._classes = classes

    def update_state(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: keras.KerasTensor | None = None) -> None:
        """Count the answers of a batch."""
        super().update_state(y_true[:, : self._classes], y_pred[:, : self._classes], sample_weight)


def class_weights(labels: NDArray[np.int64], classes: int, balance: float) -> NDArray[np.float32]:
    """Return a weight an example, float32 (n,), of mean 1: 0 weighs all alike, 1 gives every class the same say."""
    counts = np.bincount(labels, minlength=classes)
    weights = (1 / np.maximum(counts, 1) ** balance)[labels]
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def precision(name: str) -> str:
    """Return the dtype policy of Keras for a param; `auto` is `mixed_bfloat16` where the processor or the GPU multiplies bfloat16."""
    if name != "auto":
        return name
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16" if tf.config.experimental.get_device_details(gpus[0])["compute_capability"] >= (8, 0) else "float32"
    return "mixed_bfloat16" if env.multiplies_bfloat16() else "float32"
