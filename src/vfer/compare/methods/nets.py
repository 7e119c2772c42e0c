"""Train a Keras network on clips and predict with it; the networks are in the modules beside this one."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from vfer.compare.methods.base import FittedMethod, Method, MethodClips, Numbers, Task, Vectors
from vfer.nets import training
from vfer.nets.batches import Batches

Inputs = Callable[[MethodClips, Numbers, np.random.Generator | None], Vectors]
"""Makes one array of the chosen clips; with a generator it may change them at random, since it is trained on them."""
Build = Callable[[tuple[int, ...], Task], keras.Model]
"""Builds the untrained network, from one input of a shape without the batch to probabilities, float32 (batch, classes)."""
Prepare = Callable[[MethodClips, Task], Inputs]
"""Looks at the training clips and returns how inputs are made."""


def net(prepare: Prepare, build: Build) -> Method:
    """Return the method that trains such a network, by AdamW, and keeps the epoch of the lowest validation loss."""

    def method(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
        keras.backend.clear_session()
        training.seed_everything(task.seed, deterministic=True)
        inputs = prepare(train, task)
        model = build(inputs(train, np.arange(1), None).shape[1:], task)
        batches = _batches(inputs, train, task, fitted=True)
        settings = task.nets
        training.compile_classifier(model, learning_rate=settings.learning_rate, steps=len(batches) * settings.epochs)
        training.fit(
            model,
            batches,
            _batches(inputs, validation, task, fitted=False),
            epochs=settings.epochs,
            patience=settings.patience,
            checkpoint=None,  # a fold is short, and what is finished is kept
            on_epoch=lambda *_: None,
        )
        compiled = tf.function(lambda batch: model(batch, training=False), [tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)])
        return FittedMethod(model.count_params(), lambda clips: answers(compiled, inputs, clips, settings.batch_size))

    return method


def classifier(inputs: keras.KerasTensor, x: keras.KerasTensor, task: Task) -> keras.Model:
    """Return the network that answers by one vector a clip, (batch, d), after dropout."""
    x = layers.Dropout(task.nets.dropout)(x)
    return keras.Model(inputs, layers.Dense(task.classes, activation="softmax", name="probabilities")(x))


def answers(model: Callable[[Vectors], object], inputs: Inputs, clips: MethodClips, batch_size: int) -> Vectors:
    """Return the network's probabilities for clips, float32 (n, classes)."""
    rows = np.arange(len(clips))
    parts = [model(inputs(clips, rows[at : at + batch_size], None)) for at in range(0, len(rows), batch_size)]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def _batches(inputs: Inputs, clips: MethodClips, task: Task, *, fitted: bool) -> Batches:
    def make(rows: NDArray[np.int64], rng: np.random.Generator) -> Vectors:
        return inputs(clips, rows, rng if fitted else None)

    weights = training.class_weights(clips.labels, task.classes, task.nets.class_balance if fitted else 0)
    targets = np.eye(task.classes, dtype=np.float32)[clips.labels]
    return Batches(make, targets, weights, task.nets.batch_size, task.seed, shuffle=fitted)
