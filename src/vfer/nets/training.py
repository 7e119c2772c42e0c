"""Trains a Keras classifier epoch by epoch: early stopping, averaged weights, resuming after a kill."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from vfer import env
from vfer.errors import VferError
from vfer.files import write_bytes

if TYPE_CHECKING:
    import tensorflow as tf

Logs = dict[str, float]
Weights = list[NDArray[np.generic]]
Inputs = NDArray[Any] | dict[str, NDArray[Any]]
OnEpoch = Callable[[int, Logs], None]
Monitor = Literal["loss", "accuracy"]


class Batches:
    """Shuffled, weighted batches whose content depends on seed, epoch and index alone.

    `make(indices, rng)` returns one batch's inputs, an array or one for each input by name; `targets` is float32 (n, classes), `weights`
    float32 (n,). With `mixup` each example is mixed with another of its batch by a share drawn from Beta(mixup, mixup); its inputs are
    then one array. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], np.random.Generator], Inputs],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        batch_size: int,
        seed: int,
        *,
        shuffle: bool,
        mixup: float = 0,
    ) -> None:
        self._make, self._targets, self._weights = make, targets, weights
        self._batch_size, self._seed, self._shuffle, self._mixup = batch_size, seed, shuffle, mixup
        self.start(0)

    def start(self, epoch: int) -> None:
        """Put the examples into the order of an epoch."""
        self._epoch = epoch
        order = np.arange(len(self._targets))
        self._order = np.random.default_rng([self._seed, epoch]).permutation(order) if self._shuffle else order

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        rng = np.random.default_rng([self._seed, self._epoch, index])
        batch = self._make(chosen, rng), self._targets[chosen], self._weights[chosen]
        if not self._mixup:
            return batch
        share = rng.beta(self._mixup, self._mixup, len(chosen)).astype(np.float32)
        other = rng.permutation(len(chosen))
        inputs, targets, weights = (_mixed(part, share, other) for part in batch)
        return inputs, targets, weights

    def signature(self, part: NDArray[Any]) -> tuple[int | None, ...]:
        """Return the shape that a part of all batches has: inputs, targets or weights."""
        return (None, *part.shape[1:])

    def dataset(self) -> "tf.data.Dataset":
        """Return the batches of whichever epoch is started, made ahead of their use; made once, since each new one costs its tracing."""
        import tensorflow as tf

        signature = tf.nest.map_structure(lambda part: tf.TensorSpec(self.signature(part), part.dtype), self[0])
        batches = tf.data.Dataset.from_generator(lambda: map(self.__getitem__, range(len(self))), output_signature=signature)
        return batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(tf.data.AUTOTUNE)


def _mixed(part: Any, share: NDArray[np.float32], other: NDArray[np.int64]) -> NDArray[Any]:
    shares = share.reshape(-1, *[1] * (part.ndim - 1))
    return np.asarray(part * shares + part[other] * (1 - shares))


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
    weights that are validated and kept are a running average of those that are trained. With a checkpoint folder, a run that was killed
    goes on after its last whole epoch.
    Raises `VferError` where the loss is no longer a number; it names the step, and the weights of the last whole epoch.
    """
    average = Average(model, averaging)
    # Its state comes with a checkpoint, and a first step that made it would be traced twice.
    model.optimizer.build(model.trainable_variables)
    store = _Checkpoint(checkpoint, model, average, monitor) if checkpoint else None
    history, best_weights = store.restore() if store else ([], model.get_weights())
    best = _best(history, monitor)
    fitted, held_out = train.dataset(), validation.dataset() if validation else None
    for epoch in range(len(history), epochs):
        if epoch >= least and history and epoch - best > patience:
            break
        train.start(epoch)
        watch = _Watch(epoch, store.kept(epoch) if store else "", average)
        result = model.fit(fitted, shuffle=False, verbose=0, callbacks=[watch])  # told to shuffle a dataset, Keras warns that it cannot
        logs = {name: float(values[-1]) for name, values in result.history.items()}
        with average.taken():
            if held_out:
                logs |= {f"val_{name}": value for name, value in model.evaluate(held_out, verbose=0, return_dict=True).items()}
                watch.check(logs["val_loss"], len(train))
            history.append(logs)
            if best != (best := _best(history, monitor)) or epoch == 0:
                best_weights = model.get_weights()
        if store:
            store.save(history)
        on_epoch(epoch, logs)
    model.set_weights(best_weights)
    return Fit(history, best)


def _best(history: list[Logs], monitor: Monitor) -> int:
    if history and "val_loss" not in history[-1]:
        return len(history) - 1

    def worse(epoch: int) -> tuple[float, float]:
        loss, accuracy = history[epoch]["val_loss"], history[epoch]["val_accuracy"]
        return (loss, 0) if monitor == "loss" else (-accuracy, loss)

    return min(range(len(history)), key=worse, default=0)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Looks at each step of an epoch: stops where the loss is not a number, and lets the average follow."""

    def __init__(self, epoch: int, kept: str, average: "Average") -> None:
        super().__init__()
        self._epoch, self._kept, self._average = epoch, kept, average

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.check(float(logs["loss"]), batch + 1)
        self._average.follow()

    def check(self, loss: float, step: int) -> None:
        """Raise `VferError` where the loss after a step, counted from 1, is not a number."""
        if not math.isfinite(loss):
            raise VferError(f"epoch {self._epoch + 1}, step {step}: the loss is no longer a number; lower the learning rate{self._kept}")


class Average:
    """A running average of a model's weights, those of its norms included; with decay 0 it holds none and does nothing.

    At first it forgets faster, so that it does not remember the start. Source: Tarvainen and Valpola, "Mean teachers are better role
    models", 2017.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        import tensorflow as tf

        self.decay, self.steps = decay, 0
        self._model = model
        self._means = [keras.Variable(variable, trainable=False) for variable in model.weights] if decay else []

        @tf.function  # type: ignore[untyped-decorator]  # one call a step instead of one a variable
        def follow(share: object) -> None:
            for mean, variable in zip(self._means, model.weights, strict=True):
                mean.assign_add((variable - mean) * share)

        self._follow = follow

    def follow(self) -> None:
        """Move the average towards the present weights."""
        if self.decay:
            import tensorflow as tf

            self.steps += 1
            self._follow(tf.constant(1 - min(self.decay, self.steps / (self.steps + 9)), tf.float32))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Give the model the average for a while."""
        kept = self._model.get_weights()
        if self.decay:
            self._model.set_weights(self._means)
        try:
            yield
        finally:
            self._model.set_weights(kept)

    def restore(self, steps: int) -> None:
        """Take the model's present weights for the average after so many steps."""
        self.steps = steps
        for mean, variable in zip(self._means, self._model.weights, strict=True):
            mean.assign(variable)


class _Checkpoint:
    """The last whole epoch, and the weights of the best one: `epoch-<n>.keras` and, of the average, `average-<n>.weights.h5`."""

    def __init__(self, folder: Path, model: keras.Model, average: Average, monitor: Monitor) -> None:
        self._folder, self._model, self._average, self._monitor = folder, model, average, monitor

    def kept(self, epochs: int) -> str:
        """Says where the model after so many epochs is."""
        return f"; the model of epoch {epochs} is kept as {self._folder / self._model_of(epochs)}" if epochs else ""

    def restore(self) -> tuple[list[Logs], Weights]:
        """Give the model, its optimiser and the average the state of the last whole epoch; return all figures and the best weights."""
        state = self._folder / "state.json"
        if not state.is_file():
            return [], self._model.get_weights()
        content = json.loads(state.read_bytes())
        history: list[Logs] = content["history"]
        best = self._load(self._weights_of(_best(history, self._monitor) + 1))
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
        epoch, best = len(history), _best(history, self._monitor) + 1
        self._model.save(self._folder / self._model_of(epoch))
        if self._average.decay:
            with self._average.taken():
                self._model.save_weights(self._folder / self._weights_of(epoch))
        seeds = [np.asarray(seed).tolist() for seed in _seeds(self._model)]
        state = {"seeds": seeds, "steps": self._average.steps, "history": history}
        write_bytes(self._folder / "state.json", json.dumps(state).encode())
        needed = {"state.json", self._model_of(epoch), self._weights_of(epoch), self._weights_of(best)}
        for file in sorted(self._folder.iterdir()):
            if file.is_file() and file.name.startswith(("epoch-", "average-")) and file.name not in needed:
                file.unlink()

    def _model_of(self, epoch: int) -> str:
        return f"epoch-{epoch}.keras"

    def _weights_of(self, epoch: int) -> str:
        return f"average-{epoch}.weights.h5" if self._average.decay else self._model_of(epoch)


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """Return the states of the dropouts' random generators, which a saved model lacks."""
    return [variable for variable in model.non_trainable_variables if variable.name == "seed_generator_state"]


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
        heads: Of two heads whose probabilities lie side by side, the number of classes of the first, and the weight of the second in
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


def precision(wanted: str) -> str:
    """Return the dtype policy of Keras for a param; `auto` is `mixed_bfloat16` where the processor or the GPU multiplies bfloat16."""
    if wanted != "auto":
        return wanted
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16" if tf.config.experimental.get_device_details(gpus[0])["compute_capability"] >= (8, 0) else "float32"
    return "mixed_bfloat16" if env.multiplies_bfloat16() else "float32"
